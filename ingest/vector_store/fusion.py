"""One ranking of two: the cosines of the vectors and the BM25 scores, each on a scale from 0 to 1."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ingest.vector_store.base import Payload, ScoredPoint, Scores, Vector
from ingest.vector_store.term_weights import TermWeights

#: The weight of the cosine; BM25 has the rest.
DEFAULT_DENSE_WEIGHT = 0.5


@dataclass(frozen=True)
class Fusion:
    """How the two scores of a point become one.

    Attributes:
        dense_weight: the weight of the cosine, 0 to 1; BM25 has the rest.
        of_collections: other weights, by the keys of collections.
        cosine_floor: the mean cosine of unrelated texts, which counts as 0. Those of some models are all above 0.7.
    """

    dense_weight: float = DEFAULT_DENSE_WEIGHT
    of_collections: Mapping[str, float] = field(default_factory=dict)
    cosine_floor: float = 0.0

    def score(self, collection: str, cosine: float | None, bm25_share: float | None) -> float:
        """Return the fused score, 0 to 1.

        Args:
            collection: the key of the point's collection. It may be empty if no collection has its own weight.
            cosine: None if the query has no vector.
            bm25_share: BM25 divided by the most that the query can have; None if the query has no terms.
        """
        share = min(1.0, bm25_share or 0.0)
        if cosine is None:
            return share
        scaled = min(1.0, max(0.0, (cosine - self.cosine_floor) / (1 - self.cosine_floor)))
        weight = 1.0 if bm25_share is None else self.of_collections.get(collection, self.dense_weight)
        return weight * scaled + (1 - weight) * share


@dataclass(frozen=True)
class Rankings:
    """What the two rankings of a query have found.

    Attributes:
        vector: of the query, float32 [dimension]; None if BM25 alone ranks.
        cosines: of the points in the dense ranking.
        bm25: the scores of the points in the BM25 ranking. BM25 counts as 0 for the others.
        weights: of the query's terms.
    """

    vector: Vector | None
    cosines: Scores
    bm25: Scores
    weights: TermWeights


class Engine(Protocol):
    """What a store does to complete its rankings."""

    def cosines(self, vector: Vector, ids: Collection[str]) -> Scores:
        """Return the cosines of these points to a vector; points that are gone are left out."""
        ...

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """Return the payloads of points by their ids; ids without a point are left out."""
        ...


def fused_points(engine: Engine, found: Rankings, fusion: Fusion, *, with_payloads: bool) -> list[ScoredPoint]:
    """Return the points of both rankings by their fused scores, best first, with their payloads if these are wanted."""
    cosines = found.cosines
    if found.vector is not None and (missing := found.bm25.keys() - cosines.keys()):
        cosines = {**cosines, **engine.cosines(found.vector, missing)}
    payloads: Mapping[str, Payload] = {}
    if with_payloads or fusion.of_collections:
        payloads = engine.payloads([*found.bm25.keys() | cosines.keys()])
    collections = {key: payload.get("collection", "") for key, payload in payloads.items()}
    points = fuse(cosines, found.bm25, found.weights, fusion, collections)
    if not with_payloads:
        return points
    # A point that was removed since it was ranked has no payload.
    return [replace(point, payload=payloads[point.id]) for point in points if point.id in payloads]


def fuse(
    cosines: Scores, bm25: Scores, weights: TermWeights, fusion: Fusion, collections: Mapping[str, str]
) -> list[ScoredPoint]:
    """Return the points by their fused scores, best first, without payloads.

    Args:
        cosines: of all points; empty if only BM25 ranks.
        bm25: counts as 0 for points that are not in it.
        weights: of the query's terms.
        collections: the keys of the points' collections; a missing one has no weight of its own.
    """
    ceiling = weights.ceiling
    points = []
    for key in bm25.keys() | cosines.keys():
        cosine, score = cosines.get(key), bm25.get(key)
        share = (score or 0.0) / ceiling if ceiling else None
        points.append(ScoredPoint({}, fusion.score(collections.get(key, ""), cosine, share), cosine, score, key))
    # The id decides last, so that the order is always the same.
    return sorted(points, key=lambda point: (-point.score, -(point.dense_score or 0.0), point.id))
