"""From chunks to points: embeds what is new, writes everything, and checks that all of it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from core.errors import InternalError
from ingest.parsed_document import Chunk
from ingest.vector_store.base import DocumentMeta, Point, Vector, VectorStore, point_id

Item = TypeVar("Item")

#: A chunk, and which of the documents at hand it is of.
Placed = tuple[int, Chunk]

#: Points written at a time; also the hashes that are looked up at a time.
WRITE_POINTS = 64


#: Called with the chunks that are done and the texts that were embedded for them.
BetweenBatches = Callable[[int, int], None]


class BulkEmbedder(Protocol):
    """What indexing needs of `ingest.embedding.embedder.EmbeddingService`."""

    def embed(
        self, texts: Sequence[str], purpose: Literal["document"], priority: Literal["bulk"]
    ) -> Sequence[Vector] | Any:
        """Vectors of length 1, one for each text: float32 [len(texts), dimension]."""
        ...


@dataclass(frozen=True)
class Work:
    """One generation of a document, with all of its chunks."""

    document: DocumentMeta
    chunks: Sequence[Chunk]


def index_document(
    chunks: Sequence[Chunk],
    *,
    document: DocumentMeta,
    embedder: BulkEmbedder,
    store: VectorStore,
    batch: int = 16,
    between_batches: BetweenBatches = lambda _done, _embedded: None,
) -> int:
    """Writes the points of one document, as `index_documents` does; returns how many texts had to be embedded."""
    work = Work(document, chunks)
    return index_documents([work], embedder=embedder, store=store, batch=batch, between_batches=between_batches)[0]


def index_documents(
    works: Sequence[Work],
    *,
    embedder: BulkEmbedder,
    store: VectorStore,
    batch: int = 16,
    between_batches: BetweenBatches = lambda _done, _embedded: None,
) -> list[int]:
    """Writes the points of one generation of each of the documents. Doing it twice changes nothing.

    Returns how many texts had to be embedded for each: of the others, the store had a vector already, or an earlier
    one of the documents has the same text.

    Args:
        batch: texts embedded at a time; of similar length, so that little is computed on padding.
        between_batches: called before each batch with the chunks that are done and the texts embedded for them, of all
            documents; what it raises ends the work, which may be begun again at any time.

    Raises:
        InternalError: the store does not have the points that were written.
        Unavailable: the model is shutting down, or a store server does not answer.
    """
    embedded = _write(works, embedder, store, batch, between_batches)
    for number, work in enumerate(works):
        document = work.document
        count = store.count(document.id, document.generation)
        if count > len(work.chunks):
            # An earlier try with other settings made more chunks of the same generation. Rare, so: once more from
            # nothing. Only that generation: the active one stays searchable.
            store.delete_generation(document.id, document.generation)
            embedded[number] += _write([work], embedder, store, batch, between_batches)[0]
            count = store.count(document.id, document.generation)
        if count != len(work.chunks):
            raise InternalError(f"The vector store has {count} points of {document.id}, not {len(work.chunks)}.")
    return embedded


def _write(
    works: Sequence[Work],
    embedder: BulkEmbedder,
    store: VectorStore,
    batch: int,
    between_batches: BetweenBatches,
) -> list[int]:
    placed = [(number, chunk) for number, work in enumerate(works) for chunk in work.chunks]
    new = _write_known(placed, works, store, between_batches)
    done = len(placed) - sum(map(len, new.values()))
    embedded = [0] * len(works)
    alike = sorted(new.values(), key=lambda same: len(same[0][1].text))
    points: list[Point] = []
    for group in _groups(alike, batch):
        between_batches(done, sum(embedded))
        vectors = embedder.embed([same[0][1].text for same in group], purpose="document", priority="bulk")
        for same, vector in zip(group, vectors, strict=True):
            points += [_point(chunk, vector, works[number].document) for number, chunk in same]
            done += len(same)
            embedded[same[0][0]] += 1
        if len(points) >= WRITE_POINTS:
            store.upsert(points)
            points = []
    if points:
        store.upsert(points)
    return embedded


def _write_known(
    placed: Sequence[Placed], works: Sequence[Work], store: VectorStore, between_batches: BetweenBatches
) -> dict[str, list[Placed]]:
    """Writes the chunks whose text the store has a vector of, and returns the others by their hash."""
    new: dict[str, list[Placed]] = {}
    done = 0
    for group in _groups(placed, WRITE_POINTS):
        between_batches(done, 0)
        vectors = store.vectors_by_hash(sorted({chunk.content_hash for _, chunk in group}))
        known = [
            _point(chunk, vectors[chunk.content_hash], works[number].document)
            for number, chunk in group
            if chunk.content_hash in vectors
        ]
        if known:
            store.upsert(known)
            done += len(known)
        for number, chunk in group:
            if chunk.content_hash not in vectors:
                new.setdefault(chunk.content_hash, []).append((number, chunk))
    return new


def _point(chunk: Chunk, vector: Vector, document: DocumentMeta) -> Point:
    payload = {
        **document.payload,
        "generation": document.generation,
        "chunk_index": chunk.index,
        "page": chunk.page,
        "section": chunk.section,
        "start": chunk.start,
        "end": chunk.end,
        "content_hash": chunk.content_hash,
    }
    return Point(point_id(document.id, document.generation, chunk.index), vector, chunk.text, payload)


def _groups(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
