"""One ranking of two: the cosines of the vectors and the BM25 scores, each on a scale from 0 to 1. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ingest.vector_store.base import Candidate, ScoredPoint
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
            collection: the key of the point's collection.
            cosine: None if the query has no vector.
            bm25_share: BM25 divided by the most that the query can have; None if the query has no terms.
        """
        scaled = 0.0 if cosine is None else min(1.0, max(0.0, (cosine - self.cosine_floor) / (1 - self.cosine_floor)))
        weight = self.of_collections.get(collection, self.dense_weight)
        weight = 0.0 if cosine is None else 1.0 if bm25_share is None else weight
        return weight * scaled + (1 - weight) * min(1.0, bm25_share or 0.0)


def fuse(
    dense_ranking: Sequence[Candidate],
    sparse_ranking: Sequence[Candidate],
    cosines: Mapping[str, float],
    weights: TermWeights,
    fusion: Fusion,
) -> list[ScoredPoint]:
    """Return the points of both rankings by their fused scores, best first.

    Args:
        sparse_ranking: BM25 counts as 0 for points that are not in it.
        cosines: of the points that only the sparse ranking has, by their ids; empty if only BM25 ranks.
        weights: of the query's terms.
    """
    found = {candidate.id: candidate for candidate in (*sparse_ranking, *dense_ranking)}
    cosines = {**cosines, **{candidate.id: candidate.score for candidate in dense_ranking}}
    bm25 = {candidate.id: candidate.score for candidate in sparse_ranking}
    ceiling = weights.ceiling
    points = []
    for key, candidate in found.items():
        share = bm25.get(key, 0.0) / ceiling if ceiling else None
        score = fusion.score(candidate.payload.get("collection", ""), cosines.get(key), share)
        vector = None if candidate.vector is None else np.asarray(candidate.vector, np.float32)
        points.append(ScoredPoint(candidate.payload, score, cosines.get(key), bm25.get(key), key, vector))
    # The id decides last, so that the order is always the same.
    return sorted(points, key=lambda point: (-point.score, -(point.dense_score or 0.0), point.id))
