"""Which hits of a search an answer is given."""

from __future__ import annotations

from msgspec.structs import replace

from core.messages import Hit
from tasks.queries.service import near_the_best

HITS = [Hit(f"doc-{score}", 0, "x", score, "a.txt", "default") for score in (0.8, 0.5, 0.4, 0.3)]


def test_hits_far_below_the_best_one_are_left_out() -> None:
    assert near_the_best(HITS, 0.5) == HITS[:3]
    assert near_the_best(HITS, 0.0) == HITS and near_the_best([], 0.5) == []


def test_reranked_hits_are_all_kept_since_their_scores_are_no_shares() -> None:
    reranked = [replace(hit, rerank_score=-hit.score) for hit in HITS]
    assert near_the_best(reranked, 0.5) == reranked
