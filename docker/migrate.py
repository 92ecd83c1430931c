"""Migrates the catalog before the other containers start, so that none of them waits for another's migration."""

from __future__ import annotations

import sys

from cli.preflight import migrate_catalog
from core.errors import LlmApiError
from core.settings import get_settings


def main() -> None:
    """Migrate the catalog of `DATABASE_URL`, unless containers of another release are using it."""
    try:
        migrate_catalog(get_settings())
    except LlmApiError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
