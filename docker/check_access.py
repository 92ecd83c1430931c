"""Checks that other machines are not served without keys. Ends with one line that says what to do."""

from __future__ import annotations

import sys

from cli.preflight import check_access
from core.errors import LlmApiError
from core.settings import get_settings


def main() -> None:
    """Check the settings and the catalog of this container."""
    try:
        check_access(get_settings())
    except LlmApiError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
