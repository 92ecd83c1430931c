"""`/v1/rag/collections`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.base import CollectionName, WireAnswer, WireRequest

MIN_CHUNK_TOKENS = 16
MAX_CHUNK_TOKENS = 8192


class CollectionSettings(WireRequest):
    """How documents of a collection are cut and embedded; null means the server's own setting.

    `embedding_model` is EMBEDDING_MODEL_NAME or one of EMBEDDING_MODELS.
    """

    chunk_tokens: int | None = Field(None, ge=MIN_CHUNK_TOKENS, le=MAX_CHUNK_TOKENS)
    chunk_overlap_tokens: int | None = Field(None, ge=0, le=MAX_CHUNK_TOKENS // 2)
    embedding_model: str | None = Field(None, min_length=1, max_length=1024)


class NewCollection(CollectionSettings):
    """Body of `POST /v1/rag/collections`."""

    name: CollectionName


class CollectionChange(CollectionSettings):
    """Body of `PATCH /v1/rag/collections/{collection}`: what is left out stays as it is."""

    name: CollectionName = ""


class Coverage(WireAnswer):
    """How much of a collection is found.

    `skipped` and `failed` count documents by reason; `skipped` also what rules keep out of watched folders.
    """

    object: Literal["collection.coverage"]
    collection: str
    documents: int
    indexed: int
    stale: int
    pending: int
    skipped: dict[str, int]
    failed: dict[str, int]
    chunks: int
    size_bytes: int


class Collection(WireAnswer):
    """A collection. `chunk_tokens` and `chunk_overlap_tokens` are its own settings; null means the server's.

    `embedding_model` is the model that search finds it by, null while there is none yet; `next_embedding_model` the one
    that takes over when all its documents are embedded by it.
    """

    id: str
    object: Literal["collection"]
    name: str
    created_at: int
    chunk_tokens: int | None
    chunk_overlap_tokens: int | None
    embedding_model: str | None
    next_embedding_model: str | None
    coverage: Coverage
    #: After a change: the documents that are indexed again because of it.
    reindexing: int | None = None


class SkippedFile(WireAnswer):
    """A file of a watched folder, or a folder in it (its path ends with "/"), that a rule keeps out."""

    id: str
    object: Literal["skipped_file"]
    folder: str
    path: str
    reason: str


class DeletedCollection(WireAnswer):
    id: str
    object: Literal["collection"]
    deleted: bool
    documents: int
