"""The catalog in one piece."""

from __future__ import annotations

from core.catalog.claims import ClaimQueries
from core.catalog.collections import CollectionQueries
from core.catalog.documents import DocumentQueries
from core.catalog.folders import FolderQueries
from core.catalog.jobs import JobQueries
from core.catalog.progress import ProgressQueries
from core.catalog.stores import StoreQueries


class Catalog(
    StoreQueries, CollectionQueries, DocumentQueries, FolderQueries, ProgressQueries, ClaimQueries, JobQueries
):
    """All of the catalog, over one pool of connections. Synchronous; call it from any thread.

    Every method may raise `core.errors.Unavailable`: the database does not answer, or is locked for over 5 s.
    """

    @classmethod
    def open(cls, database_url: str) -> Catalog:
        """Opens the catalog at a SQLAlchemy URL, without creating its tables: `migrate` does.

        Raises:
            ConfigurationError: the URL is not one of a SQLite file or a PostgreSQL database.
        """
        return cls(database_url)
