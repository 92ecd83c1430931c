"""The store on a Qdrant server, which many index workers share."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx
import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from core.errors import ConfigurationError, Unavailable
from core.messages import Filter
from ingest.vector_store import sparse
from ingest.vector_store.base import (
    DENSE,
    FORMER_INDEXES,
    MAX_QUERY_TERMS,
    POINT_NAMESPACE,
    RENEWED_POINTS,
    SPARSE,
    UPSERT_POINTS,
    Candidate,
    DocumentMeta,
    Payload,
    Point,
    ScoredPoint,
    Vector,
    brought_up_to_date,
    collection_name,
    fuse,
    new_number_indexes,
    unseen_term_weight,
)
from ingest.vector_store.filter_conditions import Conditions
from ingest.vector_store.terms import CONTENT_BUCKET, TERMS, terms_of

T = TypeVar("T")

log = logging.getLogger(__name__)

#: A point without vectors, which no search finds: its payload holds the identity of the collection.
IDENTITY_POINT = str(POINT_NAMESPACE)
CONFLICT = 409
FORBIDDEN = (401, 403)

_when = Conditions(models.Filter, models.FieldCondition, models.MatchValue, models.MatchAny, models.Range)


class ServerVectorStore:
    """A `VectorStore` in one collection of a Qdrant server. The client's local mode serves for tests."""

    def __init__(self, client: QdrantClient, model_name: str, dimension: int, *, indexed: bool = True) -> None:
        """Makes the collection if it is not there.

        Args:
            client: is closed with the store.
            model_name: chooses the collection, with the dimension.
            dimension: length of the vectors.
            indexed: make payload indexes, which the client's local mode does not have.

        Raises:
            ConfigurationError: the server refuses the key.
            Unavailable: the server does not answer.
        """
        self._client = client
        self._name = collection_name(model_name, dimension)
        self._indexes = indexed
        self._indexed: set[str] = set()
        self._ensure_collection(dimension)
        self.identity = self._read_identity()

    def upsert(self, points: Sequence[Point]) -> None:
        self._index_numbers([point.payload for point in points])
        for start in range(0, len(points), UPSERT_POINTS):
            part = [_server_point(point) for point in points[start : start + UPSERT_POINTS]]
            _ask(self._client.upsert, self._name, points=part, wait=True)

    def delete_documents(self, document_ids: Sequence[str]) -> None:
        self._delete(_when.of_documents(document_ids))

    def delete_collections(self, collections: Sequence[str]) -> None:
        if collections:
            self._delete(_when.of_collections(collections))

    def keep_generation(self, document_id: str, generation: int) -> None:
        self._delete(_when.of_other_generations(document_id, generation))

    def delete_generation(self, document_id: str, generation: int) -> None:
        self._delete(_when.of_generation(document_id, generation))

    def _delete(self, condition: Any) -> None:
        _ask(self._client.delete, self._name, points_selector=models.FilterSelector(filter=condition), wait=True)

    def update_documents(self, documents: Sequence[DocumentMeta]) -> None:
        self._index_numbers([document.payload for document in documents])
        operations = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(
                    payload={**document.payload, TERMS: terms_of(document.payload)},
                    filter=_when.of_document(document.id),
                )
            )
            for document in documents
        ]
        if operations:
            _ask(self._client.batch_update_points, self._name, update_operations=operations, wait=True)

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
        scope = _when.scope(collections, filters)
        terms = sparse.query_terms(text)
        requests = []
        if dense is not None:
            requests.append(
                models.QueryRequest(
                    query=dense.tolist(),
                    using=DENSE,
                    limit=limit,
                    filter=scope,
                    with_payload=True,
                    with_vector=[DENSE] if with_vectors else False,
                )
            )
        if terms:
            requests.append(
                models.QueryRequest(
                    query=_sparse_vector(terms),
                    using=SPARSE,
                    limit=limit,
                    filter=scope,
                    with_payload=True,
                    with_vector=[DENSE],
                )
            )
        found = [[_candidate(hit) for hit in hits] for hits in self._query(requests)]
        sparse_ranking = found.pop() if terms else []
        return fuse(found.pop() if dense is not None else [], sparse_ranking, dense, limit)

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        records = _ask(self._client.retrieve, self._name, ids=list(ids), with_payload=True) if ids else []
        return {str(record.id): _payload(record) for record in records}

    def term_weights(self, terms: Sequence[int]) -> dict[int, float]:
        terms = terms[:MAX_QUERY_TERMS]
        best = self._query(
            [
                models.QueryRequest(
                    query=models.SparseVector(indices=[term], values=[1.0]), using=SPARSE, limit=1, with_vector=[SPARSE]
                )
                for term in terms
            ]
        )
        points = _ask(self._client.count, self._name, exact=False).count
        weights = dict.fromkeys(terms, unseen_term_weight(points))
        for term, hits in zip(terms, best, strict=True):
            for hit in hits:
                vector = hit.vector[SPARSE]
                # The score of a single term is its weight in the point times its inverse document frequency.
                weights[term] = hit.score / vector.values[vector.indices.index(term)]
        return weights

    def vectors_by_hash(self, hashes: Sequence[str]) -> dict[str, Vector]:
        found: dict[str, Vector] = {}
        missing = set(hashes)
        while missing:  # one text may have many points: each page asks only for what no page has given yet
            records, _ = _ask(
                self._client.scroll,
                self._name,
                scroll_filter=_when.of_contents(sorted(missing)),
                limit=len(missing),
                with_payload=["content_hash"],
                with_vectors=[DENSE],
            )
            if not records:
                break
            for item in records:
                found[_payload(item)["content_hash"]] = np.asarray(_vector(item, DENSE), dtype=np.float32)
            missing -= found.keys()
        return found

    def count(self, document_id: str, generation: int) -> int:
        condition = _when.of_generation(document_id, generation)
        return _ask(self._client.count, self._name, count_filter=condition, exact=True).count

    def close(self) -> None:
        self._client.close()

    def _query(self, requests: list[models.QueryRequest]) -> list[list[Any]]:
        if not requests:
            return []
        return [list(answer.points) for answer in _ask(self._client.query_batch_points, self._name, requests)]

    def _index_numbers(self, payloads: Sequence[Mapping[str, Any]]) -> None:
        """Makes the index of a numeric attribute when the first number comes; making it again changes nothing."""
        for path in new_number_indexes(payloads, self._indexed):
            self._index(path, models.PayloadSchemaType.FLOAT)

    def _index(self, path: str, kind: models.PayloadSchemaType | models.IntegerIndexParams) -> None:
        if self._indexes:
            _ask(self._client.create_payload_index, self._name, field_name=path, field_schema=kind, wait=True)
        self._indexed.add(path)

    def _ensure_collection(self, dimension: int) -> None:
        if not _ask(self._client.collection_exists, self._name):
            try:
                _ask(
                    self._client.create_collection,
                    self._name,
                    vectors_config={DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
                    sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                )
            except UnexpectedResponse as error:  # another worker made it in between
                if error.status_code != CONFLICT:
                    raise
        for key in (TERMS, CONTENT_BUCKET):
            equality = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False)
            self._index(key, equality)
        self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        """Replaces the indexes of an older collection. The old ones go last; several workers may do it at once."""
        former = _ask(self._client.get_collection, self._name).payload_schema.keys() & FORMER_INDEXES
        if not former:
            return
        log.info("the collection %s of the Qdrant server is brought up to date", self._name)
        offset = None
        while True:
            records, offset = _ask(
                self._client.scroll, self._name, limit=RENEWED_POINTS, offset=offset, with_payload=True
            )
            operations = [_indexed_anew(record) for record in records if str(record.id) != IDENTITY_POINT]
            if operations:
                _ask(self._client.batch_update_points, self._name, update_operations=operations, wait=True)
            if offset is None:
                break
        for key in former:
            _ask(self._client.delete_payload_index, self._name, field_name=key, wait=True)

    def _read_identity(self) -> str:
        if not (known := self._retrieve_identity()):
            payload = {"identity": str(uuid.uuid4())}
            point = models.PointStruct(id=IDENTITY_POINT, vector={}, payload=payload)
            _ask(self._client.upsert, self._name, points=[point], wait=True)
            known = self._retrieve_identity()
        return known

    def _retrieve_identity(self) -> str:
        records = _ask(self._client.retrieve, self._name, ids=[IDENTITY_POINT], with_payload=True)
        return str(_payload(records[0])["identity"]) if records else ""


def _ask(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Calls the client, and tells what a fault of the server means.

    Raises:
        Unavailable: it does not answer, or is out of order.
        ConfigurationError: it refuses the key.
        UnexpectedResponse: it refuses the request.
    """
    try:
        return call(*arguments, **options)
    except UnexpectedResponse as error:
        if error.status_code in FORBIDDEN:
            raise ConfigurationError(f"QDRANT_API_KEY: the Qdrant server refuses it ({error.reason_phrase})") from error
        if error.status_code is not None and error.status_code >= 500:
            raise _unavailable(error) from error
        raise
    except (ResponseHandlingException, ApiException, httpx.HTTPError, OSError) as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"The Qdrant server (QDRANT_URL) does not answer: {error}", retry_after_seconds=5)


def _server_point(point: Point) -> models.PointStruct:
    terms = _sparse_vector(sparse.document_terms(point.text))
    return models.PointStruct(
        id=point.id, vector={DENSE: point.vector.tolist(), SPARSE: terms}, payload=point.stored_payload
    )


def _indexed_anew(record: models.Record) -> models.SetPayloadOperation:
    change = models.SetPayload(payload=brought_up_to_date(_payload(record)), points=[record.id])
    return models.SetPayloadOperation(set_payload=change)


def _candidate(hit: models.ScoredPoint) -> Candidate:
    return Candidate(str(hit.id), float(hit.score), _payload(hit), _vector(hit, DENSE) if hit.vector else None)


def _payload(record: models.ScoredPoint | models.Record) -> dict[str, Any]:
    return record.payload or {}


def _vector(record: models.ScoredPoint | models.Record, name: str) -> Any:
    return record.vector[name] if isinstance(record.vector, dict) else None


def _sparse_vector(terms: sparse.SparseTerms) -> models.SparseVector:
    return models.SparseVector(indices=terms.indices, values=terms.values)
