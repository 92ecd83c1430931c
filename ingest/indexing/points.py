"""Indexing of chunks in steps: embeds the new texts, writes all points, and checks that the store has them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from core.errors import InternalError
from core.metrics import EMBED_SECONDS, UPSERT_SECONDS
from core.normal_form import normal_form
from ingest.parsed_document import Chunk
from ingest.vector_store.base import DocumentMeta, Point, Vector, VectorStore, point_id

Item = TypeVar("Item")

#: A chunk, with the index of its document among those that are being written.
DocumentChunk = tuple[int, Chunk]

#: Points written at a time, and content hashes looked up at a time.
WRITE_POINTS = 64


@dataclass(frozen=True)
class IndexProgress:
    """How many chunks are indexed, and how many texts were embedded for them."""

    chunks: int = 0
    embedded: int = 0


class BulkEmbedder(Protocol):
    """The part of `ingest.embedding.service.EmbeddingService` that indexing uses."""

    def embed(
        self, texts: Sequence[str], purpose: Literal["document"], priority: Literal["bulk"]
    ) -> Sequence[Vector] | Any:
        """Return a vector of length 1 for each text: float32 [len(texts), dimension]."""
        ...


@dataclass(frozen=True)
class ChunkedDocument:
    """One generation of a document, with all of its chunks."""

    document: DocumentMeta
    chunks: Sequence[Chunk]


def index_document(
    chunks: Sequence[Chunk], *, document: DocumentMeta, embedder: BulkEmbedder, store: VectorStore, batch: int = 16
) -> int:
    """Write the points of one document at once, and return the number of texts that were embedded.

    See `index_steps` for what it raises.
    """
    steps = index_steps([ChunkedDocument(document, chunks)], embedder=embedder, store=store, batch=batch)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            (embedded,) = finished.value
            return int(embedded)


def index_steps(
    documents: Sequence[ChunkedDocument], *, embedder: BulkEmbedder, store: VectorStore, batch: int = 16
) -> Generator[IndexProgress, None, list[int]]:
    """Write the points of one generation of each document, one batch per step. Doing it twice changes nothing.

    It may be closed between two steps, and started again at any time.

    Args:
        batch: texts embedded at a time. They have similar lengths, so that little is computed on padding.

    Yields:
        The progress over all documents, before each batch.

    Returns:
        The number of texts that were embedded for each document. For the other texts the store has a vector already,
        or an earlier document of the list has the same text.

    Raises:
        InternalError: the store does not have the points that were written.
        Unavailable: the model is shutting down, or a store server does not answer.
    """
    embedded = yield from _write(documents, embedder, store, batch)
    for number, chunked in enumerate(documents):
        document = chunked.document
        count = store.count(document.id, document.generation)
        if count > len(chunked.chunks):
            # An earlier attempt with other settings made more chunks of the same generation. This is rare, so the
            # generation is deleted and written again; the active generation stays searchable.
            store.delete_generation(document.id, document.generation)
            again = yield from _write([chunked], embedder, store, batch)
            embedded[number] += again[0]
            count = store.count(document.id, document.generation)
        if count != len(chunked.chunks):
            raise InternalError(f"The vector store has {count} points of {document.id}, not {len(chunked.chunks)}.")
    return embedded


def _write(
    documents: Sequence[ChunkedDocument], embedder: BulkEmbedder, store: VectorStore, batch: int
) -> Generator[IndexProgress, None, list[int]]:
    chunks = [(number, chunk) for number, chunked in enumerate(documents) for chunk in chunked.chunks]
    new = yield from _write_known(chunks, documents, store)
    done = len(chunks) - sum(map(len, new.values()))
    embedded = [0] * len(documents)
    by_length = sorted(new.values(), key=lambda same: len(same[0][1].searched_text))
    points: list[Point] = []
    for group in _groups(by_length, batch):
        yield IndexProgress(done, sum(embedded))
        texts = [normal_form(same[0][1].searched_text) for same in group]
        with EMBED_SECONDS.time():
            vectors = embedder.embed(texts, purpose="document", priority="bulk")
        for same, vector in zip(group, vectors, strict=True):
            points += [_point(chunk, vector, documents[number].document) for number, chunk in same]
            done += len(same)
            embedded[same[0][0]] += 1
        if len(points) >= WRITE_POINTS:
            _upsert(store, points)
            points = []
    if points:
        _upsert(store, points)
    return embedded


def _write_known(
    chunks: Sequence[DocumentChunk], documents: Sequence[ChunkedDocument], store: VectorStore
) -> Generator[IndexProgress, None, dict[str, list[DocumentChunk]]]:
    """Write the chunks whose text has a vector in the store already, and return the others by their content hash."""
    new: dict[str, list[DocumentChunk]] = {}
    done = 0
    for group in _groups(chunks, WRITE_POINTS):
        yield IndexProgress(done)
        vectors = store.vectors_by_hash(sorted({chunk.content_hash for _, chunk in group}))
        known = [
            _point(chunk, vectors[chunk.content_hash], documents[number].document)
            for number, chunk in group
            if chunk.content_hash in vectors
        ]
        if known:
            _upsert(store, known)
            done += len(known)
        for number, chunk in group:
            if chunk.content_hash not in vectors:
                new.setdefault(chunk.content_hash, []).append((number, chunk))
    return new


def _upsert(store: VectorStore, points: Sequence[Point]) -> None:
    with UPSERT_SECONDS.time():
        store.upsert(points)


def _point(chunk: Chunk, vector: Vector, document: DocumentMeta) -> Point:
    payload = {
        **document.payload,
        "generation": document.generation,
        "chunk_index": chunk.index,
        "page": chunk.page,
        "last_page": chunk.last_page,
        "section": chunk.section,
        "header": chunk.header or None,
        "start": chunk.start,
        "end": chunk.end,
        "content_hash": chunk.content_hash,
    }
    return Point(point_id(document.id, document.generation, chunk.index), vector, chunk.text, payload)


def _groups(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
