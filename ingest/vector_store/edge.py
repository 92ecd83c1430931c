"""The embedded store: Qdrant's engine in this process, on this machine's disk. One process at a time owns it.

`EdgeShard.optimize()` is never called: it holds the interpreter's lock for seconds, so that searches and heartbeats
would stall. Without it, a search compares every vector, but compressed ones (`ingest.vector_store.shard`); see
`benchmarks/RESULTS.md` for how long that takes. An index would have to be built by another process, on a copy of the
store.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from core.messages import Filter
from ingest.vector_store import sparse
from ingest.vector_store.base import (
    DENSE,
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
)
from ingest.vector_store.filter_conditions import Conditions
from ingest.vector_store.fusion import Fusion, Rankings, fused_points
from ingest.vector_store.owner import OwnerLock
from ingest.vector_store.point_terms import TERM_SOURCES, point_terms, terms_after_rename
from ingest.vector_store.shard import open_shard, sync
from ingest.vector_store.term_weights import (
    COUNTED_POINTS,
    MAX_QUERY_TERMS,
    TermWeights,
    in_store_weights,
    term_weights,
)
from ingest.vector_store.terms import as_number_path, document_values

#: Points written between two flushes of the segments. A flush takes 0.1-0.2 s and shortens the write-ahead log, which
#: is replayed after a crash.
FLUSH_POINTS = 4096

#: Points with the best compressed cosines that are compared by the originals, for each point asked for.
OVERSAMPLING = 4.0
#: A filter that at least this share of the points match is applied to the best of all points. To find a point by its
#: filter takes about eight times as long as to compare a vector.
WIDE_SHARE = 0.2
#: Most points that are looked at for this. A search asks for more than that only if most of what it found was stale.
MAX_WIDE_POINTS = 2000
_COMPRESSED = edge.SearchParams(quantization=edge.QuantizationSearchParams(rescore=False))
_RESCORED = edge.SearchParams(quantization=edge.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING))
_ORIGINALS = edge.SearchParams(quantization=edge.QuantizationSearchParams(ignore=True))

_conditions = Conditions(edge.Filter, edge.FieldCondition, edge.MatchValue, edge.MatchAny, edge.RangeFloat)


class EdgeVectorStore:
    """A `VectorStore` on disk, in `folder`.

    Every write goes to the engine's write-ahead log, which is synced before the call returns: neither a killed process
    nor a power cut loses it.
    """

    def __init__(self, folder: Path, model_name: str, dimension: int, *, ephemeral: bool = False) -> None:
        """Open the store, or create it.

        Args:
            folder: contains the lock and one folder for each embedding model.
            model_name: together with the dimension, chooses the collection.
            dimension: length of the vectors.
            ephemeral: start empty, and remove everything at the end.

        Raises:
            ConfigurationError: another process has the store open, or it cannot be read.
        """
        self._owner = OwnerLock(folder, collection_name(model_name, dimension))
        self._folder = folder / collection_name(model_name, dimension)
        self._ephemeral = ephemeral
        self._writing = threading.Lock()
        self._unflushed = 0
        self._closed = False
        try:
            if ephemeral:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._shard, shard_folder = open_shard(self._folder, dimension)
            self._log_folder = shard_folder / "wal"
            self._indexed = set(map(as_number_path, self._shard.info().payload_schema))
            self.identity = (self._folder / "identity").read_text("ascii").strip()
        except BaseException:
            self._owner.release()
            raise

    def upsert(self, points: Sequence[Point]) -> None:
        self._index_numbers([point.payload for point in points])
        for start in range(0, len(points), UPSERT_POINTS):
            part = [_edge_point(point) for point in points[start : start + UPSERT_POINTS]]
            self._write(edge.UpdateOperation.upsert_points(part), points=len(part))

    def delete_documents(self, document_ids: Sequence[str]) -> None:
        self._delete(_conditions.of_documents(document_ids), points=len(document_ids))

    def delete_collections(self, collections: Sequence[str]) -> None:
        if collections:
            self._delete(_conditions.of_collections(collections))

    def delete_generations_before(self, document_id: str, generation: int) -> None:
        self._delete(_conditions.of_earlier_generations(document_id, generation))

    def delete_generation(self, document_id: str, generation: int) -> None:
        self._delete(_conditions.of_generation(document_id, generation))

    def _delete(self, condition: Any, points: int = 1) -> None:
        self._write(edge.UpdateOperation.delete_points_by_filter(condition), points=points)

    def update_documents(self, documents: Sequence[DocumentMeta]) -> None:
        self._index_numbers([document.payload for document in documents])
        for document in documents:
            self._rename(document)
        self._write(*map(_payload_update, documents), points=len(documents))

    def _rename(self, document: DocumentMeta) -> None:
        """Replace the terms of a document's points if they were made with other names.

        The payload changes last, so that an interrupted change is seen and made again.
        """
        offset = None
        while True:
            request = edge.ScrollRequest(
                limit=UPSERT_POINTS,
                offset=offset,
                filter=_conditions.of_document(document.id),
                with_payload=TERM_SOURCES,
                with_vector=False,
            )
            records, offset = self._shard.scroll(request)
            renamed = [
                edge.PointVectors(record.id, {SPARSE: _sparse_vector(terms)})
                for record in records
                if (terms := terms_after_rename(record.payload, document.payload)) is not None
            ]
            if renamed:
                self._write(edge.UpdateOperation.update_vectors(renamed), points=len(renamed))
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
        requests, best = [], set[str]()
        if dense is not None:
            best = self._best_of_all(dense, limit, scope)
            requests.append(_dense_request(dense, limit, scope, best))
        if terms:
            query = _sparse_query(sparse.weighted(terms, weights.factors))
            requests.append(edge.QueryRequest(limit=limit, query=query, filter=scope))
        found = self._query(requests)
        if dense is not None and best and len(found[0]) < limit:  # too few of the best points match the filter
            [found[0]] = self._query([_dense_request(dense, limit, scope)])
        bm25 = _scores(found.pop()) if terms else {}
        cosines = _scores(found.pop()) if dense is not None else {}
        rankings = Rankings(dense, cosines, bm25, weights)
        return fused_points(self, rankings, fusion or Fusion(), with_payloads=with_payloads)

    def cosines(self, vector: Vector, ids: Collection[str]) -> Scores:
        """Return the cosines of these points to a vector; points that are gone are left out."""
        among = edge.Filter(must=[edge.HasIdCondition({*ids})])
        query = edge.QueryRequest(limit=len(ids), query=_dense_query(vector), filter=among, params=_ORIGINALS)
        [hits] = self._query([query])
        return _scores(hits)

    def _best_of_all(self, dense: Vector, limit: int, scope: Any) -> set[str]:
        """Return the ids of the best of all points, so many that enough of them match a wide filter.

        The set is empty for a filter that few points match.
        """
        if scope is None:
            return set()
        points = self.point_count()
        matching = self._shard.count(edge.CountRequest(exact=False, filter=scope))
        if not matching or matching < WIDE_SHARE * points:
            return set()
        count = int(OVERSAMPLING * limit * points / matching)
        if count > MAX_WIDE_POINTS:
            return set()
        [hits] = self._query([edge.QueryRequest(limit=count, query=_dense_query(dense), params=_COMPRESSED)])
        return {hit.id for hit in hits}

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        records = self._shard.retrieve(list(ids), with_payload=True, with_vector=False) if ids else []
        return {str(record.id): record.payload for record in records}

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        records = self._shard.retrieve(list(ids), with_payload=False, with_vector=[DENSE]) if ids else []
        return {str(record.id): np.asarray(record.vector[DENSE], np.float32) for record in records}

    def term_weights(self, terms: Sequence[int], collections: Sequence[str] = ()) -> TermWeights:
        looked_up = terms[:MAX_QUERY_TERMS]
        best = self._query([_term_request(term, 1, None, [SPARSE]) for term in looked_up])
        points = self.point_count()
        in_store = in_store_weights((term, hit) for term, hits in zip(looked_up, best, strict=True) for hit in hits)
        scope = _conditions.scope(collections, None)
        searched = points if scope is None else self._shard.count(edge.CountRequest(exact=False, filter=scope))
        if searched >= points:
            return replace(term_weights(looked_up, in_store, points), terms=len(terms))
        found = self._query([_term_request(term, COUNTED_POINTS, scope) for term in in_store])
        counts = {term: len(hits) for term, hits in zip(in_store, found, strict=True)}
        return replace(term_weights(looked_up, in_store, points, counts, searched), terms=len(terms))

    def vectors_by_hash(self, hashes: Sequence[str]) -> dict[str, Vector]:
        found: dict[str, Vector] = {}
        missing = set(hashes)
        while missing:  # a page may hold many points of one text, so the next one asks for the texts still missing
            records, _ = self._shard.scroll(
                edge.ScrollRequest(
                    limit=len(missing),
                    filter=_conditions.of_contents(sorted(missing)),
                    with_payload=["content_hash"],
                    with_vector=[DENSE],
                )
            )
            if not records:
                break
            found |= {item.payload["content_hash"]: np.asarray(item.vector[DENSE], np.float32) for item in records}
            missing -= found.keys()
        return found

    def count(self, document_id: str, generation: int) -> int:
        condition = _conditions.of_generation(document_id, generation)
        return int(self._shard.count(edge.CountRequest(exact=True, filter=condition)))

    def point_count(self) -> int:
        return int(self._shard.info().points_count)

    def close(self) -> None:
        with self._writing:
            if self._closed:
                return
            self._closed = True
            self._shard.close()
            self._owner.release()
            if self._ephemeral:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _index_numbers(self, payloads: Sequence[Mapping[str, Any]]) -> None:
        """Create the index of an attribute at its first number or date; later it would have to read all points."""
        for path in new_number_indexes(payloads, self._indexed):
            self._write(edge.UpdateOperation.create_field_index(path, edge.PayloadSchemaType.Float))
            self._indexed.add(path)

    def _query(self, requests: Sequence[Any]) -> list[list[Any]]:
        return list(self._shard.query_batch(edge.QueryBatchRequest(list(requests)))) if requests else []

    def _write(self, *operations: Any, points: int = 1) -> None:
        with self._writing:
            for operation in operations:
                self._shard.update(operation)
            self._unflushed += points
            if self._unflushed >= FLUSH_POINTS:
                self._shard.flush()
                self._unflushed = 0
            elif not self._ephemeral:
                sync(self._log_folder)


def _edge_point(point: Point) -> Any:
    payload = point.stored_payload
    vector = {DENSE: point.vector.tolist(), SPARSE: _sparse_vector(point_terms(payload))}
    return edge.Point(point.id, vector, payload)


def _sparse_vector(terms: sparse.SparseTerms) -> Any:
    return edge.SparseVector(terms.indices, terms.values)


def _payload_update(document: DocumentMeta) -> Any:
    values = document_values(document.payload)
    return edge.UpdateOperation.set_payload_by_filter(_conditions.of_document(document.id), values)


def _scores(hits: Iterable[Any]) -> Scores:
    return {str(hit.id): float(hit.score) for hit in hits}


def _dense_query(vector: Vector) -> Any:
    return edge.Query.Nearest(vector.tolist(), using=DENSE)


def _dense_request(vector: Vector, limit: int, scope: Any, ids: Collection[str] = frozenset()) -> Any:
    if not ids:
        return edge.QueryRequest(limit=limit, query=_dense_query(vector), filter=scope, params=_RESCORED)
    among = edge.Filter(must=[scope, edge.HasIdCondition(set(ids))])
    return edge.QueryRequest(limit=limit, query=_dense_query(vector), filter=among, params=_ORIGINALS)


def _term_request(term: int, limit: int, scope: Any, vectors: list[str] | bool = False) -> Any:
    query = _sparse_query(sparse.SparseTerms([term], [1.0]))
    return edge.QueryRequest(limit=limit, query=query, filter=scope, with_payload=False, with_vector=vectors)


def _sparse_query(terms: sparse.SparseTerms) -> Any:
    return edge.Query.Nearest(_sparse_vector(terms), using=SPARSE)
