"""What the catalog hands out: frozen values, never rows of the database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from core.catalog.paths import to_os

ItemT = TypeVar("ItemT")


class DocumentState(StrEnum):
    """Where a document stands."""

    #: The original is durable; nobody works on it.
    QUEUED = "queued"
    #: An ingest worker holds it.
    PARSING = "parsing"
    #: Its chunks are on disk, and it waits for the indexer (users see "indexing").
    PARSED = "parsed"
    #: The index worker holds it.
    INDEXING = "indexing"
    #: All points of its generation are in the store, and searched.
    COMPLETED = "completed"
    #: It cannot be ingested; `error` says why and what to do.
    FAILED = "failed"
    #: A person stopped it; retrying queues it again.
    CANCELLED = "cancelled"
    #: Not searched any more; its points and files are still to be removed.
    DELETING = "deleting"
    #: A tombstone, until it is purged.
    DELETED = "deleted"


#: `error_code` of a document whose file was gone when it was to be read.
ORIGINAL_MISSING = "original_missing"

#: Nothing more happens to the document by itself, or nothing that its owner waits for.
SETTLED = frozenset(
    {
        DocumentState.COMPLETED,
        DocumentState.FAILED,
        DocumentState.CANCELLED,
        DocumentState.DELETING,
        DocumentState.DELETED,
    }
)
#: It could be taken up again.
RETRYABLE = (DocumentState.FAILED, DocumentState.CANCELLED)
#: It waits, or somebody works on it.
UNSETTLED = (DocumentState.QUEUED, DocumentState.PARSING, DocumentState.PARSED, DocumentState.INDEXING)


class JobState(StrEnum):
    """Where an asynchronous job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Source(StrEnum):
    """How a document came in. Folders mirror only what came from them."""

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
    """A vector store and its embedding model: what "completed" refers to."""

    store_id: str
    embedding_model: str
    dimension: int
    #: A folder or a hub id, to load the model from; None is the starter.
    model_source: str | None = None


@dataclass(frozen=True)
class Collection:
    """A set of documents, and the vector store and model that they are in."""

    id: str
    name: str
    created_at: float
    #: What its points carry as their collection, whatever its name is now.
    point_key: str
    #: How its documents are cut; None is the server's CHUNK_TOKENS or CHUNK_OVERLAP_TOKENS.
    chunk_tokens: int | None = None
    chunk_overlap_tokens: int | None = None
    #: The one of EMBEDDING_MODELS that it is to be in; None is the server's EMBEDDING_MODEL_NAME.
    model_choice: str | None = None
    #: Where search finds its documents; None while no index worker has seen it.
    store: StoreRecord | None = None
    #: What takes over from that once it has all documents; None while there is nothing to take over.
    next_store: StoreRecord | None = None


@dataclass(frozen=True)
class Coverage:
    """What of a collection can be found, and what cannot and why."""

    collection: str
    #: All of them, but for those that are being deleted.
    documents: int = 0
    #: Documents that search finds with their present content.
    indexed: int = 0
    #: Documents that search finds with an older content or cut than the present one.
    stale: int = 0
    #: Documents that wait or are worked on, stale ones included.
    pending: int = 0
    #: By reason: files that have nothing to index or are of a type that is not read, cancelled ones, and what rules
    #: keep out of watched folders (which are no documents).
    skipped: dict[str, int] = field(default_factory=dict)
    #: By reason.
    failed: dict[str, int] = field(default_factory=dict)
    chunks: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class NewDocument:
    """A document to be: its original is durable already, under `blob_key` or at `root`/`path`."""

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
    media_type: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    #: Adding it again with this key returns the first document.
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Document:
    """A document as the catalog knows it at one moment."""

    id: str
    #: Name of its collection.
    collection: str
    filename: str
    path: str | None
    root: str | None
    source: Source
    state: DocumentState
    error: str | None
    #: The generation that is being built, or was built last.
    generation: int
    #: The generation that search sees; None while there is none.
    active_generation: int | None
    chunk_count: int
    #: Claims of the present stage that were lost to crashes.
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
    #: Texts of the present generation that had to be embedded: the others had a vector already.
    chunks_embedded: int
    queued_at: float | None
    parsing_at: float | None
    parsed_at: float | None
    indexing_at: float | None
    ended_at: float | None
    #: `Collection.point_key`, how its collection is cut, and the embedding model that was chosen for it.
    collection_key: str
    model_choice: str | None
    chunk_tokens: int | None
    chunk_overlap_tokens: int | None
    #: Deleted by a person while its file lies in its watched folder: until that changes, it stays out.
    ignored: bool = False
    #: What the file says of itself: an e-mail's headers, the number of its pages, …
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def has_lost_file(self) -> bool:
        """It failed because its folder had no file to read, as when that had just got another name."""
        return self.state is DocumentState.FAILED and self.error_code == ORIGINAL_MISSING and self.blob_key is None

    @property
    def is_stale(self) -> bool:
        """Search finds it with an older content or cut than the present one."""
        return self.active_generation is not None and self.active_generation != self.generation

    @property
    def source_path(self) -> Path | None:
        """The file in its watched folder; None for what came over the API (see `blob_key`)."""
        if self.root is None or self.path is None:
            return None
        return Path(to_os(self.root)) / to_os(self.path)


@dataclass(frozen=True)
class Claim:
    """The right to work on a document until the lease ends. `token` fences off whoever held it before."""

    document: Document
    token: int


@dataclass(frozen=True)
class Parsed:
    """A claimed document was read, and its chunks are on disk."""

    claim: Claim
    chunk_count: int
    media_type: str
    #: What the file says of itself: an e-mail's headers, the number of its pages, …
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """A claimed document cannot be read. `reason` is for its owner, `code` for programs."""

    claim: Claim
    reason: str
    code: str = "invalid_file"


@dataclass(frozen=True)
class Released:
    """A claimed document was not looked at."""

    claim: Claim


#: How the parsing of a claimed document ends.
ParseEnd: TypeAlias = Parsed | Refused | Released


class FolderState(StrEnum):
    """Where a watched folder stands."""

    #: Looked at for the first time.
    STARTING = "starting"
    #: The catalog follows it.
    WATCHED = "watched"
    #: It is not there; its documents are kept.
    MISSING = "missing"
    #: Most of its files are missing at once; nothing is deleted until somebody confirms, or they are back.
    HELD = "held"


@dataclass(frozen=True)
class WatchedFolder:
    """A watched folder as the watcher saw it last."""

    #: Absolute, as `paths.to_text` writes it.
    root: str
    collection: str
    mode: str
    state: FolderState
    #: Which folder it was when it was last mirrored; None: it never was.
    identity: str | None
    #: Documents from it; while it is held, how many there were when that began.
    document_count: int
    #: Documents whose files are missing, and that are kept for now.
    missing_count: int
    #: Somebody said that the missing files were meant to be deleted, and the watcher has not acted on it yet.
    confirmed: bool
    changed_at: float


@dataclass(frozen=True)
class SkippedFile:
    """A file, or a folder with all that is in it, that a rule keeps out of a watched folder's collection."""

    #: The watched folder, and the path in it, as `paths.to_text` writes them; that of a folder ends with "/".
    root: str
    path: str
    #: The rule.
    reason: str

    @property
    def id(self) -> str:
        """The same as long as the file is where it is."""
        place = f"{self.root}\0{self.path}".encode()
        return f"skip-{hashlib.sha256(place).hexdigest()[:24]}"


@dataclass(frozen=True)
class Job:
    """A job that outlives its client. `request`, `result` and `error` are JSON."""

    id: str
    kind: str
    endpoint: str
    state: JobState
    attempt: int
    request: str
    result: str | None
    error: str | None
    key: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
