"""The interface of a vector store, and what all stores share: point ids and payloads."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from core.messages import Filter
from ingest.vector_store.terms import indexed_values, is_number_path, number_paths

if TYPE_CHECKING:
    from ingest.vector_store.fusion import Fusion
    from ingest.vector_store.term_weights import TermWeights

Vector = npt.NDArray[np.float32]
Payload = dict[str, Any]
#: Scores of points by their ids.
Scores = Mapping[str, float]

#: Names of the two vectors of a point.
DENSE, SPARSE = "dense", "bm25"
#: Payload keys that were indexed before `ingest.vector_store.terms` replaced them. A store that still has one of these
#: indexes is migrated when it is opened.
OLD_INDEXES = frozenset(
    {"document_id", "collection", "filename", "path", "type", "attribute_terms", "generation", "content_hash"}
)
#: Most numeric attributes and dates that get an index, in the order in which they appear. Each index takes memory and
#: files, even if it is nearly empty. Filters on other attributes read every point.
MAX_NUMBER_INDEXES = 32
#: Points migrated in one operation.
MIGRATION_POINTS = 256
#: Points written in one operation.
UPSERT_POINTS = 128
#: Namespace of the point ids; a constant of the stored format.
POINT_NAMESPACE = uuid.UUID("6f1c5d2e-3a56-4f0b-9d3c-5b8f0e7a2c41")


def point_id(document_id: str, generation: int, index: int) -> str:
    """Return the id of a chunk's point. It is always the same, so that writing a chunk twice changes nothing."""
    return str(uuid.uuid5(POINT_NAMESPACE, f"{document_id}/{generation}/{index}"))


def collection_name(model_name: str, dimension: int) -> str:
    """Return the name of an embedding model's collection, as a name for files and for servers."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", model_name).strip("-.") or "model"
    return f"llm-api-{slug}-{dimension}"


@dataclass(frozen=True)
class DocumentMeta:
    """The properties of a document that are stored with each of its points."""

    id: str
    generation: int
    #: The key of its collection, which does not change when the collection is renamed.
    collection: str
    filename: str
    path: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    media_type: str | None = None

    @property
    def payload(self) -> Payload:
        """The payload that the points of all its generations share."""
        return {
            "document_id": self.id,
            "collection": self.collection,
            "filename": self.filename,
            "path": self.path,
            "type": type_names(self.media_type, self.filename),
            "attributes": dict(self.attributes),
        }


def type_names(media_type: str | None, filename: str) -> list[str]:
    """Return the names of a document's type in filters, such as `application/pdf` and, by its suffix, `pdf`."""
    suffix = PurePath(filename).suffix.lower().removeprefix(".")
    return [name for name in (media_type, suffix) if name]


def values_to_migrate(payload: Payload) -> Payload:
    """Return the values that an old payload lacks."""
    known = {"type": payload.get("type") or type_names(None, payload["filename"])}
    return {**known, **indexed_values({**payload, **known})}


@dataclass(frozen=True)
class Point:
    """A chunk to store.

    Attributes:
        id: from `point_id`.
        vector: float32 [dimension], of length 1.
        text: the text of the chunk; it is stored in the payload as `text`.
        payload: document_id, generation, chunk_index, collection, filename, path, type, page, last_page, section,
            header, start, end, content_hash, attributes. Values that are None are not stored.
    """

    id: str
    vector: Vector
    text: str
    payload: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stored_payload(self) -> Payload:
        """The payload with the text and the indexed values, without values that are None."""
        values = {**self.payload, "text": self.text, **indexed_values(self.payload)}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class ScoredPoint:
    """A point that a search found.

    Attributes:
        payload: see `Point`, with `text`; empty if the search did not ask for payloads.
        score: both scores fused (`fusion`), 0 to 1.
        dense_score: cosine to the query; None if the search had no vector.
        sparse_score: BM25; None if the point is not in the BM25 ranking.
        id: see `Point`.
    """

    payload: Payload
    score: float
    dense_score: float | None = None
    sparse_score: float | None = None
    id: str = ""


def new_number_indexes(payloads: Iterable[Mapping[str, Any]], indexed: Collection[str]) -> list[str]:
    """Return the numeric attributes and dates in these payloads that shall get an index, given the indexed keys."""
    numbers = list(filter(is_number_path, indexed))
    room = max(0, MAX_NUMBER_INDEXES - len(numbers))
    return sorted(number_paths(payloads) - set(indexed))[:room]


class VectorStore(Protocol):
    """A store of the points of one embedding model. Thread-safe; a write is visible and durable when it returns.

    All methods raise `core.errors.Unavailable` if the store is on a server that does not answer.
    """

    @property
    def identity(self) -> str:
        """An id that is created and kept with the store. If it changes, the points are lost."""
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points, replacing those with the same ids."""
        ...

    def delete_documents(self, document_ids: Sequence[str]) -> None:
        """Remove all points of documents."""
        ...

    def delete_collections(self, collections: Sequence[str]) -> None:
        """Remove all points of collections, given by their keys as in the payloads."""
        ...

    def delete_generations_before(self, document_id: str, generation: int) -> None:
        """Remove a document's points of earlier generations. Another worker may be writing a later one."""
        ...

    def delete_generation(self, document_id: str, generation: int) -> None:
        """Remove the points of one generation of a document."""
        ...

    def search(
        self,
        dense: Vector | None,
        text: str,
        limit: int,
        collections: Sequence[str] = (),
        filters: Filter | None = None,
        *,
        with_payloads: bool = True,
        weights: TermWeights | None = None,
        fusion: Fusion | None = None,
    ) -> list[ScoredPoint]:
        """Return the best points by the fusion of cosine to `dense` and BM25 of `text`, best first.

        Args:
            dense: float32 [dimension], or None for BM25 alone.
            text: the query; if it has no terms, the cosine alone ranks.
            limit: most points of each of the two rankings. The result has all points of both.
            collections: keys of the collections to search; none means all.
            filters: only points of documents that match it.
            with_payloads: return the points' payloads too. To read them takes longer than to rank the points.
            weights: of the query's terms in these collections, if they are known already.
            fusion: how the two scores become one; None: by default.
        """
        ...

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """Return the payloads of points by their ids; ids without a point are left out."""
        ...

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        """Return the dense vectors of points by their ids; ids without a point are left out."""
        ...

    def term_weights(self, terms: Sequence[int], collections: Sequence[str] = ()) -> TermWeights:
        """Return the weights of term ids of `sparse` in the collections of these keys; none means all."""
        ...

    def vectors_by_hash(self, hashes: Sequence[str]) -> dict[str, Vector]:
        """Return the dense vectors of points with these content hashes; hashes that no point has are left out."""
        ...

    def count(self, document_id: str, generation: int) -> int:
        """Return the exact number of points of a generation of a document."""
        ...

    def point_count(self) -> int:
        """Return about how many points the store has."""
        ...

    def update_documents(self, documents: Sequence[DocumentMeta]) -> None:
        """Update the payloads of the documents' points in every generation; the vectors stay the same."""
        ...

    def close(self) -> None:
        """Close the store, so that another process can open it. Safe to call twice."""
        ...
