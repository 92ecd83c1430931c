"""Migrates the catalog before the other containers start, so that none of them waits for another's migration."""

from __future__ import annotations

from core.catalog import Catalog
from core.settings import get_settings


def main() -> None:
    """Migrate the catalog of `DATABASE_URL`."""
    catalog = Catalog.open(get_settings().catalog_url)
    try:
        catalog.migrate()
    finally:
        catalog.close()


if __name__ == "__main__":
    main()
