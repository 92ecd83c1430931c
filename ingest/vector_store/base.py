"""What every vector store does, and what the stores share: point ids, payload keys and the fusion of two rankings."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from core.messages import Filter
from ingest.vector_store.terms import ATTRIBUTES_PREFIX, indexed_values, number_paths

Vector = npt.NDArray[np.float32]
Payload = dict[str, Any]

#: Names of the two vectors of a point.
DENSE, SPARSE = "dense", "bm25"
#: The k of reciprocal rank fusion; ranks count from 0. Measured best on 300 queries over 5,183 abstracts.
RRF_K = 2
#: Payload keys that had an index before those of `ingest.vector_store.terms` came in their place. A store that has one
#: of them still is brought up to date when it is opened.
FORMER_INDEXES = frozenset(
    {"document_id", "collection", "filename", "path", "type", "attribute_terms", "generation", "content_hash"}
)
#: Attributes whose numbers are indexed, those that come first: each index takes memory and files, whatever is in it.
#: Others can be compared too, by looking at each point.
MOST_NUMBER_INDEXES = 32
#: Points brought up to date in one operation.
RENEWED_POINTS = 256
#: Points written in one operation.
UPSERT_POINTS = 128
#: More terms of a query than these are not weighed.
MAX_QUERY_TERMS = 48
#: Namespace of the point ids; a constant of the stored format.
POINT_NAMESPACE = uuid.UUID("6f1c5d2e-3a56-4f0b-9d3c-5b8f0e7a2c41")


def point_id(document_id: str, generation: int, index: int) -> str:
    """The id of a chunk's point: writing it again changes nothing."""
    return str(uuid.uuid5(POINT_NAMESPACE, f"{document_id}/{generation}/{index}"))


def collection_name(model_name: str, dimension: int) -> str:
    """The one collection of an embedding model, as a name for files and for servers."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", model_name).strip("-.") or "model"
    return f"llm-api-{slug}-{dimension}"


@dataclass(frozen=True)
class DocumentMeta:
    """What of a document is stored with each of its points."""

    id: str
    generation: int
    #: The key of its collection, which stays when that is renamed.
    collection: str
    filename: str
    path: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    media_type: str | None = None

    @property
    def payload(self) -> Payload:
        """What the points of all its generations carry."""
        return {
            "document_id": self.id,
            "collection": self.collection,
            "filename": self.filename,
            "path": self.path,
            "type": type_names(self.media_type, self.filename),
            "attributes": dict(self.attributes),
        }


def type_names(media_type: str | None, filename: str) -> list[str]:
    """What a document's type is called in filters: `application/pdf`, and `pdf`, by its name."""
    suffix = PurePath(filename).suffix.lower().removeprefix(".")
    return [name for name in (media_type, suffix) if name]


def brought_up_to_date(payload: Payload) -> Payload:
    """What a payload of an older form lacks."""
    known = {"type": payload.get("type") or type_names(None, payload["filename"])}
    return {**known, **indexed_values({**payload, **known})}


@dataclass(frozen=True)
class Point:
    """A chunk to be stored.

    Attributes:
        id: from `point_id`.
        vector: float32 [dimension], of length 1.
        text: what BM25 reads; kept in the payload as `text`.
        payload: document_id, generation, chunk_index, collection, filename, path, type, page, section, start, end,
            content_hash, attributes. Values that are None are left out.
    """

    id: str
    vector: Vector
    text: str
    payload: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stored_payload(self) -> Payload:
        """The payload with its text, with what is indexed of it, and without empty values."""
        values = {**self.payload, "text": self.text, **indexed_values(self.payload)}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class ScoredPoint:
    """A point that was found.

    Attributes:
        payload: see `Point`, with `text`.
        score: reciprocal rank fusion, at most 1.
        dense_score: cosine to the query; None if the search had no vector.
        sparse_score: BM25; None if the point is not among those with the best BM25.
        id: of the point.
        vector: float32 [dimension]; None if the search did not ask for vectors.
    """

    payload: Payload
    score: float
    dense_score: float | None = None
    sparse_score: float | None = None
    id: str = ""
    vector: Vector | None = None


@dataclass(frozen=True)
class Candidate:
    """A point in one of the two rankings, before they are fused. BM25's candidates carry their dense vector."""

    id: str
    score: float
    payload: Payload
    vector: Sequence[float] | None = None


def new_number_indexes(payloads: Iterable[Mapping[str, Any]], indexed: Collection[str]) -> list[str]:
    """The payload keys that get an index of numbers, where these are indexed already."""
    numbers = [path for path in indexed if path.startswith(ATTRIBUTES_PREFIX)]
    room = max(0, MOST_NUMBER_INDEXES - len(numbers))
    return sorted(number_paths(payloads) - set(indexed))[:room]


class VectorStore(Protocol):
    """Points of one embedding model. Thread-safe; every write is visible and durable when it returns.

    All methods raise `core.errors.Unavailable` if a server does not answer.
    """

    @property
    def identity(self) -> str:
        """Made when the store was made and kept with it: another one means that the points are gone."""
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Writes points, in place of those with the same ids."""
        ...

    def delete_documents(self, document_ids: Sequence[str]) -> None:
        """Removes all points of documents."""
        ...

    def delete_collections(self, collections: Sequence[str]) -> None:
        """Removes all points of collections, which are named as their payloads do."""
        ...

    def keep_generation(self, document_id: str, generation: int) -> None:
        """Removes a document's points of all generations but one."""
        ...

    def delete_generation(self, document_id: str, generation: int) -> None:
        """Removes the points of one generation of a document."""
        ...

    def search(
        self,
        dense: Vector | None,
        text: str,
        limit: int,
        collections: Sequence[str] = (),
        filters: Filter | None = None,
        *,
        with_vectors: bool = False,
    ) -> list[ScoredPoint]:
        """The best points by the fusion of cosine to `dense` and BM25 of `text`, best first.

        Args:
            dense: float32 [dimension], or None for BM25 alone.
            text: the query; without a single term the cosine ranks alone.
            limit: the most points of each ranking, and of the answer.
            collections: only points of these; none named means all.
            filters: only points of documents that it holds for.
            with_vectors: give the points' vectors too.
        """
        ...

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """The payloads of those of these points that there are."""
        ...

    def term_weights(self, terms: Sequence[int]) -> dict[int, float]:
        """The inverse document frequency of each term (ids from `sparse`); one that no point has counts as rare."""
        ...

    def vectors_by_hash(self, hashes: Sequence[str]) -> dict[str, Vector]:
        """Dense vectors of points with these content hashes; hashes that no point has are left out."""
        ...

    def count(self, document_id: str, generation: int) -> int:
        """How many points a generation of a document has, exactly."""
        ...

    def update_documents(self, documents: Sequence[DocumentMeta]) -> None:
        """Sets what points carry of these documents, on those of every generation; the vectors stay."""
        ...

    def close(self) -> None:
        """Lets another process open the store. Safe to call twice."""
        ...


def fuse(
    dense_ranking: Sequence[Candidate], sparse_ranking: Sequence[Candidate], query: Vector | None, limit: int
) -> list[ScoredPoint]:
    """Reciprocal rank fusion of two rankings, best first, with the raw scores of both kept."""
    scores: dict[str, float] = {}
    # Of a point in both rankings the sparse candidate: it carries its vector.
    found = {candidate.id: candidate for candidate in (*dense_ranking, *sparse_ranking)}
    for ranking in (dense_ranking, sparse_ranking):
        for rank, candidate in enumerate(ranking):
            scores[candidate.id] = scores.get(candidate.id, 0.0) + 1 / (RRF_K + rank)
    cosines = {candidate.id: candidate.score for candidate in dense_ranking}
    if query is not None:
        cosines = {item.id: _cosine(query, item.vector) for item in sparse_ranking if item.vector} | cosines
    bm25 = {candidate.id: candidate.score for candidate in sparse_ranking}
    # Equal ranks are common with k=2: the cosine decides, then the id, so that the order never depends on chance.
    order = sorted(scores, key=lambda key: (-scores[key], -cosines.get(key, 0.0), key))
    vectors = {item.id: np.asarray(item.vector, np.float32) for item in found.values() if item.vector is not None}
    return [
        ScoredPoint(found[key].payload, scores[key], cosines.get(key), bm25.get(key), key, vectors.get(key))
        for key in order[:limit]
    ]


def unseen_term_weight(points: int) -> float:
    """The weight given to a term that no point has: that of a term of one point, by ln((N - n + 0.5) / (n + 0.5) + 1).

    With n = 0 one unknown word would outweigh all known ones of a small store.
    """
    return math.log((max(points, 1) - 0.5) / 1.5 + 1)


def _cosine(query: Vector, vector: Sequence[float]) -> float:
    return float(np.dot(query, np.asarray(vector, dtype=np.float32)))
