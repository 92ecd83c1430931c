"""The store on a Qdrant server, which many index workers share."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import httpx
import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from core.errors import ConfigurationError, Unavailable
from core.messages import Filter
from core.redaction import redacted
from ingest.vector_store import sparse
from ingest.vector_store.base import (
    DENSE,
    MIGRATION_POINTS,
    OLD_INDEXES,
    POINT_NAMESPACE,
    SPARSE,
    UPSERT_POINTS,
    DocumentMeta,
    Payload,
    Point,
    ScoredPoint,
    Scores,
    Vector,
    collection_name,
    new_number_indexes,
    values_to_migrate,
)
from ingest.vector_store.filter_conditions import Conditions
from ingest.vector_store.fusion import Fusion, Rankings, fused_points
from ingest.vector_store.point_terms import TERM_SOURCES, point_terms, terms_after_rename
from ingest.vector_store.term_weights import (
    COUNTED_POINTS,
    MAX_QUERY_TERMS,
    TermWeights,
    in_store_weights,
    term_weights,
)
from ingest.vector_store.terms import CONTENT_BUCKET, TERMS, document_values

T = TypeVar("T")

log = logging.getLogger(__name__)

#: The id of a point whose payload is the identity of the collection. It has no vectors, so no search finds it.
IDENTITY_POINT = str(POINT_NAMESPACE)
CONFLICT = 409
FORBIDDEN = (401, 403)

_conditions = Conditions(models.Filter, models.FieldCondition, models.MatchValue, models.MatchAny, models.Range)


class ServerVectorStore:
    """A `VectorStore` in one collection of a Qdrant server. Tests use the client's local mode."""

    def __init__(self, client: QdrantClient, model_name: str, dimension: int, *, indexed: bool = True) -> None:
        """Create the collection if it does not exist.

        Args:
            client: closed together with the store.
            model_name: together with the dimension, chooses the collection.
            dimension: length of the vectors.
            indexed: create payload indexes, which the client's local mode does not have.

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
        self._delete(_conditions.of_documents(document_ids))

    def delete_collections(self, collections: Sequence[str]) -> None:
        if collections:
            self._delete(_conditions.of_collections(collections))

    def delete_generations_before(self, document_id: str, generation: int) -> None:
        self._delete(_conditions.of_earlier_generations(document_id, generation))

    def delete_generation(self, document_id: str, generation: int) -> None:
        self._delete(_conditions.of_generation(document_id, generation))

    def _delete(self, condition: Any) -> None:
        _ask(self._client.delete, self._name, points_selector=models.FilterSelector(filter=condition), wait=True)

    def update_documents(self, documents: Sequence[DocumentMeta]) -> None:
        self._index_numbers([document.payload for document in documents])
        for document in documents:
            self._rename(document)
        operations = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(
                    payload=document_values(document.payload),
                    filter=_conditions.of_document(document.id),
                )
            )
            for document in documents
        ]
        if operations:
            _ask(self._client.batch_update_points, self._name, update_operations=operations, wait=True)

    def _rename(self, document: DocumentMeta) -> None:
        """Replace the terms of a document's points if they were made with other names.

        The payload changes last, so that an interrupted change is seen and made again.
        """
        offset = None
        while True:
            records, offset = _ask(
                self._client.scroll,
                self._name,
                scroll_filter=_conditions.of_document(document.id),
                limit=UPSERT_POINTS,
                offset=offset,
                with_payload=TERM_SOURCES,
            )
            renamed = [
                models.PointVectors(id=record.id, vector={SPARSE: _sparse_vector(terms)})
                for record in records
                if (terms := terms_after_rename(_payload(record), document.payload)) is not None
            ]
            if renamed:
                _ask(self._client.update_vectors, self._name, points=renamed, wait=True)
            if offset is None:
                return

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
        scope = _conditions.scope(collections, filters)
        terms = sparse.query_terms(text)
        if weights is None:
            weights = self.term_weights(terms.indices, collections)
        requests = []
        if dense is not None:
            requests.append(models.QueryRequest(query=dense.tolist(), using=DENSE, limit=limit, filter=scope))
        if terms:
            query = _sparse_vector(sparse.weighted(terms, weights.factors))
            requests.append(models.QueryRequest(query=query, using=SPARSE, limit=limit, filter=scope))
        found = self._query(requests)
        bm25 = _scores(found.pop()) if terms else {}
        cosines = _scores(found.pop()) if dense is not None else {}
        rankings = Rankings(dense, cosines, bm25, weights)
        return fused_points(self, rankings, fusion or Fusion(), with_payloads=with_payloads)

    def cosines(self, vector: Vector, ids: Collection[str]) -> Scores:
        """Return the cosines of these points to a vector; points that are gone are left out."""
        among = models.Filter(must=[models.HasIdCondition(has_id=sorted(ids))])
        [hits] = self._query([models.QueryRequest(query=vector.tolist(), using=DENSE, limit=len(ids), filter=among)])
        return _scores(hits)

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        records = _ask(self._client.retrieve, self._name, ids=list(ids), with_payload=True) if ids else []
        return {str(record.id): _payload(record) for record in records}

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        records = (
            _ask(self._client.retrieve, self._name, ids=list(ids), with_payload=False, with_vectors=[DENSE])
            if ids
            else []
        )
        return {str(record.id): np.asarray(_vector(record, DENSE), np.float32) for record in records}

    def term_weights(self, terms: Sequence[int], collections: Sequence[str] = ()) -> TermWeights:
        looked_up = terms[:MAX_QUERY_TERMS]
        best = self._query([_term_request(term, 1, None, [SPARSE]) for term in looked_up])
        points = self.point_count()
        in_store = in_store_weights((term, hit) for term, hits in zip(looked_up, best, strict=True) for hit in hits)
        scope = _conditions.scope(collections, None)
        searched = points
        if scope is not None:
            searched = _ask(self._client.count, self._name, count_filter=scope, exact=False).count
        if searched >= points:
            return replace(term_weights(looked_up, in_store, points), terms=len(terms))
        found = self._query([_term_request(term, COUNTED_POINTS, scope) for term in in_store])
        counts = {term: len(hits) for term, hits in zip(in_store, found, strict=True)}
        return replace(term_weights(looked_up, in_store, points, counts, searched), terms=len(terms))

    def vectors_by_hash(self, hashes: Sequence[str]) -> dict[str, Vector]:
        found: dict[str, Vector] = {}
        missing = set(hashes)
        while missing:  # a page may hold many points of one text, so the next one asks for the texts still missing
            records, _ = _ask(
                self._client.scroll,
                self._name,
                scroll_filter=_conditions.of_contents(sorted(missing)),
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
        condition = _conditions.of_generation(document_id, generation)
        return _ask(self._client.count, self._name, count_filter=condition, exact=True).count

    def point_count(self) -> int:
        return _ask(self._client.count, self._name, exact=False).count

    def close(self) -> None:
        self._client.close()

    def _query(self, requests: list[models.QueryRequest]) -> list[list[Any]]:
        if not requests:
            return []
        return [list(answer.points) for answer in _ask(self._client.query_batch_points, self._name, requests)]

    def _index_numbers(self, payloads: Sequence[Mapping[str, Any]]) -> None:
        """Create an index for a numeric attribute at its first number or date. Creating it twice changes nothing."""
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
            except UnexpectedResponse as error:  # another worker has just created it
                if error.status_code != CONFLICT:
                    raise
        for key in (TERMS, CONTENT_BUCKET):
            equality = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False)
            self._index(key, equality)
        self._migrate()

    def _migrate(self) -> None:
        """Replace the indexes of an old collection. They are removed last; several workers may do this at once."""
        old = _ask(self._client.get_collection, self._name).payload_schema.keys() & OLD_INDEXES
        if not old:
            return
        log.info("the indexes of the collection %s on the Qdrant server are migrated", self._name)
        offset = None
        while True:
            records, offset = _ask(
                self._client.scroll, self._name, limit=MIGRATION_POINTS, offset=offset, with_payload=True
            )
            operations = [_migration(record) for record in records if str(record.id) != IDENTITY_POINT]
            if operations:
                _ask(self._client.batch_update_points, self._name, update_operations=operations, wait=True)
            if offset is None:
                break
        for key in old:
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
    """Call the client, and translate its errors.

    Raises:
        Unavailable: the server does not answer, or answers with a server error.
        ConfigurationError: the server refuses the key.
        UnexpectedResponse: the server refuses the request.
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
    # Its messages may name hosts and users. That is for the log, not for clients.
    log.warning("the Qdrant server does not answer: %s", redacted(error))
    return Unavailable("The Qdrant server (QDRANT_URL) does not answer. Try again in a moment.", retry_after_seconds=5)


def _server_point(point: Point) -> models.PointStruct:
    payload = point.stored_payload
    terms = _sparse_vector(point_terms(payload))
    return models.PointStruct(id=point.id, vector={DENSE: point.vector.tolist(), SPARSE: terms}, payload=payload)


def _migration(record: models.Record) -> models.SetPayloadOperation:
    change = models.SetPayload(payload=values_to_migrate(_payload(record)), points=[record.id])
    return models.SetPayloadOperation(set_payload=change)


def _scores(hits: Iterable[models.ScoredPoint]) -> Scores:
    return {str(hit.id): float(hit.score) for hit in hits}


def _payload(record: models.ScoredPoint | models.Record) -> dict[str, Any]:
    return record.payload or {}


def _vector(record: models.ScoredPoint | models.Record, name: str) -> Any:
    return record.vector[name] if isinstance(record.vector, dict) else None


def _term_request(term: int, limit: int, scope: Any, vectors: list[str] | None = None) -> models.QueryRequest:
    query = models.SparseVector(indices=[term], values=[1.0])
    return models.QueryRequest(query=query, using=SPARSE, limit=limit, filter=scope, with_vector=vectors)


def _sparse_vector(terms: sparse.SparseTerms) -> models.SparseVector:
    return models.SparseVector(indices=terms.indices, values=terms.values)
