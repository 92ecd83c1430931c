"""The values that the catalog returns: frozen dataclasses, never rows of the database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from core.catalog.paths import to_os
from core.keys import DEFAULT_OWNER

ItemT = TypeVar("ItemT")


class DocumentState(StrEnum):
    """The state of a document."""

    #: The original is durable; no worker holds it.
    QUEUED = "queued"
    #: An ingest worker holds it.
    PARSING = "parsing"
    #: Its chunks are on disk, and it waits for the indexer (users see "indexing").
    PARSED = "parsed"
    #: The index worker holds it.
    INDEXING = "indexing"
    #: All points of its generation are in the store and can be found.
    COMPLETED = "completed"
    #: It cannot be ingested; `error` says why and what to do.
    FAILED = "failed"
    #: A person stopped it; retrying queues it again.
    CANCELLED = "cancelled"
    #: No longer searchable; its points and files are still to be removed.
    DELETING = "deleting"
    #: A tombstone until it is purged.
    DELETED = "deleted"


#: The `error_code` of a document whose file was missing, or was another one, when a worker wanted to read it.
ORIGINAL_MISSING = "original_missing"
#: The beginning of the reason for which a file of a watched folder is skipped that the watcher cannot read.
UNREADABLE = "it cannot be read"

#: States in which a document waits or a worker holds it.
UNSETTLED = (DocumentState.QUEUED, DocumentState.PARSING, DocumentState.PARSED, DocumentState.INDEXING)
#: States in which nothing more happens to a document, or nothing that its owner waits for.
SETTLED = frozenset(DocumentState) - frozenset(UNSETTLED)
#: States from which a document can be queued again.
RETRYABLE = (DocumentState.FAILED, DocumentState.CANCELLED)


class JobState(StrEnum):
    """The state of an asynchronous job."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Source(StrEnum):
    """How a document came in. A watched folder mirrors only the documents that came from it."""

    UPLOAD = "upload"
    TEXT = "text"
    WATCH = "watch"


@dataclass(frozen=True)
class Page(Generic[ItemT]):
    """One page of a list, newest first."""

    items: list[ItemT]
    has_more: bool


@dataclass(frozen=True)
class StoreRecord:
    """A vector store and its embedding model: the one that "completed" refers to."""

    store_id: str
    embedding_model: str
    dimension: int
    #: The folder or hub id to load the model from; None: the starter model.
    model_source: str | None = None


@dataclass(frozen=True)
class Collection:
    """A set of documents, and the vector store and model that they are in."""

    id: str
    name: str
    created_at: float
    #: The key of the collection in its points; it does not change with the name.
    point_key: str
    #: How its documents are cut into chunks, and the weight of cosines in its searches; None: the server's settings.
    chunk_tokens: int | None = None
    chunk_overlap_tokens: int | None = None
    dense_weight: float | None = None
    #: The one of EMBEDDING_MODELS that was chosen for it; None: the server's EMBEDDING_MODEL_NAME.
    model_choice: str | None = None
    #: The store that search uses; None until an index worker has seen the collection.
    store: StoreRecord | None = None
    #: The store that takes over once it has all documents; None if the collection is not moving.
    next_store: StoreRecord | None = None
    #: Grows with each change of the two.
    placement: int = 0
    owner: str = DEFAULT_OWNER


@dataclass(frozen=True)
class Coverage:
    """How much of a collection can be found, and what cannot be found and why."""

    collection: str
    #: All documents, except those that are being deleted.
    documents: int = 0
    #: Documents that search finds with their present content.
    indexed: int = 0
    #: Documents that search finds with older content or older chunk settings.
    stale: int = 0
    #: Documents that wait or are being processed, stale ones included.
    pending: int = 0
    #: Skipped files by reason: those with nothing to index, those of a type that cannot be read, cancelled ones, and
    #: the ignored files of watched folders (which are not documents).
    skipped: dict[str, int] = field(default_factory=dict)
    #: Failed documents by reason.
    failed: dict[str, int] = field(default_factory=dict)
    chunks: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class NewDocument:
    """A document to add. Its original is already durable, under `blob_key` or at `root`/`path`."""

    collection: str
    filename: str
    source: Source
    content_hash: str
    size_bytes: int
    blob_key: str | None = None
    #: The watched folder, absolute, as `paths.to_text` writes it.
    root: str | None = None
    #: Relative to `root` (as `paths.to_text` writes it), or the name that the uploader gave.
    path: str | None = None
    mtime_ns: int | None = None
    inode: int | None = None
    ctime_ns: int | None = None
    media_type: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    #: Adding it again with this key returns the first document.
    idempotency_key: str | None = None
    owner: str = DEFAULT_OWNER


@dataclass(frozen=True)
class Document:
    """A document as it is in the catalog at one moment."""

    id: str
    collection: str
    filename: str
    path: str | None
    root: str | None
    source: Source
    state: DocumentState
    error: str | None
    #: The generation that is being built or was built last.
    generation: int
    #: The generation that search sees; None: there is none yet.
    active_generation: int | None
    chunk_count: int
    #: The number of claims of the present stage that were lost to crashes.
    attempts: int
    content_hash: str
    size_bytes: int
    mtime_ns: int | None
    inode: int | None
    blob_key: str | None
    media_type: str | None
    attributes: dict[str, Any]
    created_at: float
    updated_at: float
    dispatched_at: float | None
    completed_at: float | None
    lease_until: float | None
    error_code: str | None
    chunks_indexed: int
    #: The number of texts of the present generation that had no vector yet.
    chunks_embedded: int
    queued_at: float | None
    parsing_at: float | None
    parsed_at: float | None
    indexing_at: float | None
    ended_at: float | None
    #: The `point_key`, the `model_choice` and the chunk settings of its collection.
    collection_key: str
    model_choice: str | None
    chunk_tokens: int | None
    chunk_overlap_tokens: int | None
    #: A person deleted the document while its file stayed in the watched folder: the file is ignored until it changes.
    ignored: bool = False
    ctime_ns: int | None = None
    #: How often in a row the index worker did not find the chunks that a parser had written.
    chunks_missing: int = 0
    #: Metadata from the file: an e-mail's headers, the number of pages, …
    properties: dict[str, str] = field(default_factory=dict)
    owner: str = DEFAULT_OWNER

    @property
    def has_lost_file(self) -> bool:
        """Whether it failed because its file was not the one that was seen, for example after a rename."""
        return self.state is DocumentState.FAILED and self.error_code == ORIGINAL_MISSING and self.blob_key is None

    @property
    def is_stale(self) -> bool:
        """Whether search finds it with older content or older chunk settings."""
        return self.active_generation is not None and self.active_generation != self.generation

    @property
    def source_path(self) -> Path | None:
        """The file in its watched folder, or None for an upload (see `blob_key`)."""
        if self.root is None or self.path is None:
            return None
        return Path(to_os(self.root)) / to_os(self.path)


class MirroredFile(NamedTuple):
    """The part of a document from a watched folder that concerns its file, as the watcher saw it last."""

    document_id: str
    #: Relative to the watched folder, as `paths.to_text` writes it.
    path: str
    content_hash: str
    #: Name of its collection.
    collection: str
    size_bytes: int
    mtime_ns: int | None
    inode: int | None
    ctime_ns: int | None
    blob_key: str | None
    #: See `Document.has_lost_file`.
    has_lost_file: bool


@dataclass(frozen=True)
class Claim:
    """The right to work on a document until the lease ends. `token` fences off the workers that held it before."""

    document: Document
    token: int


@dataclass(frozen=True)
class Parsed:
    """The result for a claimed document that was parsed: its chunks are on disk."""

    claim: Claim
    chunk_count: int
    media_type: str
    #: Metadata from the file: an e-mail's headers, the number of pages, …
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """The result for a claimed document that cannot be parsed. `reason` is for its owner, `code` for programs."""

    claim: Claim
    reason: str
    code: str = "invalid_file"


@dataclass(frozen=True)
class Released:
    """The result for a claimed document that is released without having been read."""

    claim: Claim


@dataclass(frozen=True)
class Indexed:
    """The result for a claimed document whose points are all in its collection's stores."""

    claim: Claim
    chunk_count: int
    #: The number of texts that had to be embedded.
    chunks_embedded: int = 0
    #: The collection's placement number when its stores were looked up; None: they are the present ones.
    placement: int | None = None


class Activation(StrEnum):
    """What came of an attempt to activate a generation."""

    ACTIVE = "active"
    #: The document was replaced, deleted or taken over meanwhile.
    FENCED = "fenced"
    #: Its collection is in other stores by now. The claim still holds.
    MISPLACED = "misplaced"


#: The result of parsing a claimed document.
ParseEnd: TypeAlias = Parsed | Refused | Released


class FolderState(StrEnum):
    """The state of a watched folder."""

    #: The watcher has not scanned it yet.
    STARTING = "starting"
    #: The catalog mirrors it.
    WATCHED = "watched"
    #: It does not exist at present; its documents are kept.
    MISSING = "missing"
    #: Most of its files vanished at once; nothing is deleted until a person confirms it or the files are back.
    HELD = "held"


@dataclass(frozen=True)
class WatchedFolder:
    """A watched folder as the watcher saw it last."""

    #: Absolute, as `paths.to_text` writes it.
    root: str
    collection: str
    mode: str
    state: FolderState
    #: The folder's identity (device and inode) when it was last mirrored; None: it never was.
    identity: str | None
    #: The number of its documents; while it is held, the number when that began.
    document_count: int
    #: The number of documents whose files are missing and that are kept for now.
    missing_count: int
    #: A person confirmed that the missing files were deleted on purpose, and the watcher has not yet acted on it.
    confirmed: bool
    changed_at: float
    #: The number of skipped files by reason, as of the last full scan. A folder counts as one.
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def unreadable_count(self) -> int:
        """The number of files and folders that the watcher may not or cannot read."""
        return sum(count for reason, count in self.skipped.items() if reason.startswith(UNREADABLE))


@dataclass(frozen=True)
class SkippedFile:
    """An entry of the report of ignored files: a file, or a folder with all its content, and the reason."""

    #: The watched folder and the path in it, as `paths.to_text` writes them; the path of a folder ends with "/".
    root: str
    path: str
    #: Why it is ignored: the rule, or that its document was deleted.
    reason: str

    @property
    def id(self) -> str:
        """An id that stays the same as long as the path does."""
        name = f"{self.root}\0{self.path}".encode()
        return f"skip-{hashlib.sha256(name).hexdigest()[:24]}"


@dataclass(frozen=True)
class JobSummary:
    """A job that outlives its client, without what may be large: its request and its result. `error` is JSON."""

    id: str
    kind: str
    endpoint: str
    state: JobState
    attempt: int
    error: str | None
    key: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    owner: str
    #: The only collections that its key could read, as sorted JSON; None: all.
    collections: str | None


@dataclass(frozen=True)
class Job(JobSummary):
    """A job that outlives its client. `request` and `result` are JSON."""

    request: str
    result: str | None
    model: str = ""
