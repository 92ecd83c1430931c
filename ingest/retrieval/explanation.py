"""Why hits are where they are: what each stage of a search took, and the ranks of each point by each of its scores."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ingest.retrieval.search import RankedPoint, Search
from ingest.vector_store import ScoredPoint
from ingest.vector_store.base import Payload

_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass
class Explanation:
    """Collects what the stages of one search report. Not thread-safe.

    Attributes:
        stages: the milliseconds of each stage, by its name, in order. What a stage leaves to be read lazily is counted
            for the stage that reads it. A search in several models adds up their times.
        points: how many points each stage left, if it says.
        scopes: the weights and the threshold of each model's search.
        ranks: by the ids of points, their ranks from 1.
        read: by the ids of those points that are in the ranking of a model, their payloads. The others were not read.
    """

    stages: dict[str, float] = field(default_factory=dict)
    points: dict[str, int | None] = field(default_factory=dict)
    scopes: list[dict[str, Any]] = field(default_factory=list)
    ranks: dict[str, dict[str, Any]] = field(default_factory=dict)
    read: dict[str, Payload] = field(default_factory=dict)

    @contextmanager
    def timing(self, stage: object) -> Iterator[list[Search]]:
        """Time a stage. The list takes the search after it."""
        name = _WORD_START.sub("_", type(stage).__name__).lower()
        began, after = time.perf_counter(), list[Search]()
        yield after
        self.stages[name] = self.stages.get(name, 0.0) + (time.perf_counter() - began) * 1000
        count = _point_count(after[0]) if after else None
        self.points[name] = count if count is None else (self.points.get(name) or 0) + count

    def add_scope(self, search: Search) -> None:
        """Add the weights of one model's search, and the ranks of all points that it found."""
        fusion = search.fusion
        weights = {"dense_weight": fusion.dense_weight, "cosine_floor": fusion.cosine_floor}
        self.scopes.append({**weights, "threshold": search.threshold, "queries": len(search.queries)})
        found = [point for ranking in search.rankings for point in ranking]
        for name, attribute in (("dense_rank", "dense_score"), ("sparse_rank", "sparse_score")):
            self._rank(name, ((point, getattr(point, attribute)) for point in found))
        for ranked in search.ranking:
            key, payload = ranked.point.id, ranked.point.payload
            weight = fusion.of_collections.get(payload["collection"], fusion.dense_weight)
            self.read[key] = payload
            self.ranks.setdefault(key, {})["dense_weight"] = weight

    def add_ranking(self, name: str, ranking: Iterable[RankedPoint]) -> None:
        """Add the ranks of points in a ranking of all of them."""
        for rank, ranked in enumerate(ranking, 1):
            self.ranks.setdefault(ranked.point.id, {})[name] = rank

    def _rank(self, name: str, scored: Iterable[tuple[ScoredPoint, float | None]]) -> None:
        """Add ranks by a score. Equal scores share a rank, and several queries count with the best of theirs."""
        best: dict[str, float] = {}
        for point, score in scored:
            if score is not None:
                best[point.id] = max(score, best.get(point.id, score))
        ordered = sorted(best.items(), key=lambda item: -item[1])
        rank = 1
        for at, (key, score) in enumerate(ordered, 1):
            rank = rank if at > 1 and score == ordered[at - 2][1] else at
            self.ranks.setdefault(key, {})[name] = rank

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values. `hits` has the ranks of the points that were read, by document and chunk."""
        return {
            "stages": [
                {"name": name, "milliseconds": round(took, 3), "points": self.points[name]}
                for name, took in self.stages.items()
            ],
            "scopes": self.scopes,
            "hits": [
                {"document_id": payload["document_id"], "chunk_index": payload["chunk_index"], **self.ranks[key]}
                for key, payload in self.read.items()
            ],
        }


def _point_count(search: Search) -> int | None:
    if isinstance(search.ranking, list | tuple) and search.ranking:
        return len(search.ranking)
    return sum(map(len, search.rankings)) if search.rankings and not search.ranking else None
