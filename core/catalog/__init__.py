"""The catalog: the source of truth about collections, documents and asynchronous jobs. Messages are only hints."""

from __future__ import annotations

from core.catalog.catalog import Catalog
from core.catalog.changes import ANY, Changes
from core.catalog.claims import LEASE_SECONDS, MAX_ATTEMPTS
from core.catalog.jobs import is_job_seen
from core.catalog.model_wishes import ModelWish
from core.catalog.paths import folder_attributes, to_os, to_text
from core.catalog.types import (
    ORIGINAL_MISSING,
    SETTLED,
    UNREADABLE,
    Activation,
    Claim,
    Collection,
    Coverage,
    Document,
    DocumentState,
    FolderState,
    Indexed,
    Job,
    JobState,
    JobSummary,
    MirroredFile,
    NewDocument,
    Page,
    Parsed,
    ParseEnd,
    Refused,
    Released,
    SkippedFile,
    Source,
    StoreRecord,
    WatchedFolder,
)
from core.catalog.web_pages import PageVersion

__all__ = [
    "ANY",
    "LEASE_SECONDS",
    "MAX_ATTEMPTS",
    "ORIGINAL_MISSING",
    "SETTLED",
    "UNREADABLE",
    "Activation",
    "Catalog",
    "Changes",
    "Claim",
    "Collection",
    "Coverage",
    "Document",
    "DocumentState",
    "FolderState",
    "Indexed",
    "Job",
    "JobState",
    "JobSummary",
    "MirroredFile",
    "ModelWish",
    "Released",
    "NewDocument",
    "Page",
    "PageVersion",
    "ParseEnd",
    "Parsed",
    "Refused",
    "SkippedFile",
    "Source",
    "StoreRecord",
    "WatchedFolder",
    "folder_attributes",
    "is_job_seen",
    "to_os",
    "to_text",
]
