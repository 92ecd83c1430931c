"""Brings the catalog's tables up to date, so that no other container has to wait for another's migration."""

from __future__ import annotations

from core.catalog import Catalog
from core.settings import get_settings


def main() -> None:
    """Migrates the catalog of `DATABASE_URL`."""
    catalog = Catalog.open(get_settings().catalog_url)
    try:
        catalog.migrate()
    finally:
        catalog.close()


if __name__ == "__main__":
    main()
