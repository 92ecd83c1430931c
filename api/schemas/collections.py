"""`/v1/rag/collections`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.base import CollectionName, WireAnswer, WireRequest

MIN_CHUNK_TOKENS = 16
MAX_CHUNK_TOKENS = 8192


class CollectionSettings(WireRequest):
    """How the documents of a collection are split into chunks, embedded and ranked. null means the server's setting.

    `dense_weight` is the weight of the cosine in the score of a hit. `embedding_model` is EMBEDDING_MODEL_NAME or one
    of EMBEDDING_MODELS.
    """

    chunk_tokens: int | None = Field(None, ge=MIN_CHUNK_TOKENS, le=MAX_CHUNK_TOKENS)
    chunk_overlap_tokens: int | None = Field(None, ge=0, le=MAX_CHUNK_TOKENS // 2)
    embedding_model: str | None = Field(None, min_length=1, max_length=1024)
    dense_weight: float | None = Field(None, ge=0, le=1)


class NewCollection(CollectionSettings):
    """Body of `POST /v1/rag/collections`."""

    name: CollectionName


class CollectionChange(CollectionSettings):
    """Body of `PATCH /v1/rag/collections/{collection}`. Fields that are left out are not changed."""

    name: CollectionName = ""


class Coverage(WireAnswer):
    """How much of a collection is searchable.

    `skipped` and `failed` count documents by reason. `skipped` also counts the ignored files of watched folders, by the
    rule that ignores them.
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
    """A collection. `chunk_tokens`, `chunk_overlap_tokens` and `dense_weight` are its own; null means the server's.

    `embedding_model` is the model that search uses, or null before the first document is indexed.
    `next_embedding_model` replaces it once all documents are embedded by it.
    """

    id: str
    object: Literal["collection"]
    name: str
    created_at: int
    chunk_tokens: int | None
    chunk_overlap_tokens: int | None
    embedding_model: str | None
    next_embedding_model: str | None
    dense_weight: float | None
    coverage: Coverage
    #: In the answer to a change: how many documents are indexed again because of it.
    reindexing: int | None = None


class SkippedFile(WireAnswer):
    """A file of a watched folder that a rule ignores, or a whole folder in it (its path ends with "/")."""

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
