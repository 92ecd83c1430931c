"""The whole catalog as one class."""

from __future__ import annotations

from core.catalog.changes import OnChange
from core.catalog.claims import ClaimQueries
from core.catalog.collections import CollectionQueries
from core.catalog.dispatches import DispatchQueries
from core.catalog.documents import DocumentQueries
from core.catalog.folders import FolderQueries
from core.catalog.jobs import JobQueries
from core.catalog.keys import KeyQueries
from core.catalog.model_wishes import ModelWishQueries
from core.catalog.progress import ProgressQueries
from core.catalog.reads import ReadQueries
from core.catalog.stores import StoreQueries
from core.catalog.usage import UsageQueries
from core.catalog.web_pages import WebPageQueries


class Catalog(
    StoreQueries,
    CollectionQueries,
    DocumentQueries,
    ReadQueries,
    FolderQueries,
    ProgressQueries,
    ClaimQueries,
    DispatchQueries,
    JobQueries,
    KeyQueries,
    ModelWishQueries,
    UsageQueries,
    WebPageQueries,
):
    """The catalog, over one pool of connections. Synchronous and thread-safe.

    Every method may raise `core.errors.Unavailable`: the database does not answer, or was locked for more than 5 s.
    """

    @classmethod
    def open(cls, database_url: str, on_change: OnChange | None = None) -> Catalog:
        """Open the catalog at a SQLAlchemy URL. `migrate` creates its tables.

        `on_change` is called after each commit with the ids that were changed, by topic: see `core.catalog.changes`.

        Raises:
            ConfigurationError: the URL names neither a SQLite file nor a PostgreSQL database.
        """
        return cls(database_url, on_change=on_change)
