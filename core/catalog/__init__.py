"""The catalog: what is true about collections, documents and asynchronous jobs. Messages are only hints at it."""

from __future__ import annotations

from core.catalog.catalog import Catalog
from core.catalog.claims import LEASE_SECONDS, MAX_ATTEMPTS
from core.catalog.paths import to_os, to_text
from core.catalog.types import (
    SETTLED,
    Claim,
    Collection,
    Coverage,
    Document,
    DocumentState,
    Job,
    JobState,
    NewDocument,
    Page,
    Source,
    StoreRecord,
)

__all__ = [
    "LEASE_SECONDS",
    "MAX_ATTEMPTS",
    "SETTLED",
    "Catalog",
    "Claim",
    "Collection",
    "Coverage",
    "Document",
    "DocumentState",
    "Job",
    "JobState",
    "NewDocument",
    "Page",
    "Source",
    "StoreRecord",
    "to_os",
    "to_text",
]
