"""The explanation of a search: the time of each stage, and the ranks of each point by each of its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from core.messages import SearchOptions
from ingest.parsed_document import content_hash_of
from ingest.retrieval.explanation import Explanation
from ingest.retrieval.retriever import Retriever, Scope, search_together
from ingest.vector_store import ScoredPoint, VectorStore, point_id
from ingest.vector_store.fusion import Fusion
from tests.unit.ingest.test_retrieval_stages import ByLength, FakeEmbedder, FakeStore


def point(number: int, score: float, dense: float | None, sparse: float | None) -> ScoredPoint:
    text = f"text {number} " + "long " * number
    payload: dict[str, Any] = {
        "document_id": f"doc-{number}",
        "chunk_index": 0,
        "generation": 1,
        "text": text,
        "content_hash": content_hash_of(text),
        "filename": "a",
        "collection": f"col-{number}",
    }
    return ScoredPoint(payload, score, dense, sparse, point_id(f"doc-{number}", 1, 0))


POINTS = [point(0, 0.9, 0.8, 1.0), point(1, 0.8, 0.9, None), point(2, 0.7, 0.8, 3.0)]


def explained(
    reranker: ByLength | None = None, points: Sequence[ScoredPoint] = POINTS
) -> tuple[list[str], dict[str, Any]]:
    def all_active(ids: list[str]) -> dict[str, int]:
        return dict.fromkeys(ids, 1)

    retriever = Retriever(cast(VectorStore, FakeStore(points)), FakeEmbedder(), all_active, 0.1, reranker)
    scope = Scope(retriever, fusion=Fusion(0.5, {"col-1": 0.25}, 0.2), threshold=0.3)
    explanation = Explanation()
    hits = search_together([scope], ["a question"], SearchOptions(top_k=3), explanation)
    return [hit.document_id for hit in hits], explanation.as_dict()


def test_points_have_a_rank_by_each_score() -> None:
    found, explanation = explained()
    assert found == ["doc-0", "doc-1", "doc-2"]
    ranks = {one["document_id"]: one for one in explanation["hits"]}
    assert [ranks[key]["dense_rank"] for key in found] == [2, 1, 2], "equal scores share a rank"
    assert [ranks[key].get("sparse_rank") for key in found] == [2, None, 1]
    assert [ranks[key]["fused_rank"] for key in found] == [ranks[key]["rank"] for key in found] == [1, 2, 3]
    assert [ranks[key]["dense_weight"] for key in found] == [0.5, 0.25, 0.5]
    assert explanation["scopes"] == [{"dense_weight": 0.5, "cosine_floor": 0.2, "threshold": 0.3, "queries": 1}]


def test_points_that_a_search_does_not_read_count_in_ranks() -> None:
    many = [point(number, 0.9 - number / 1000, 0.4 + number / 1000, None) for number in range(90)]
    found, explanation = explained(points=many)
    ranks = {one["document_id"]: one for one in explanation["hits"]}
    assert found == ["doc-0", "doc-1", "doc-2"] and len(ranks) < len(many)
    assert [ranks[key]["dense_rank"] for key in found] == [90, 89, 88]


def test_reranking_changes_the_last_rank_only() -> None:
    found, explanation = explained(ByLength())
    ranks = {one["document_id"]: one for one in explanation["hits"]}
    assert found == ["doc-2", "doc-1", "doc-0"]
    assert [ranks[key]["rank"] for key in found] == [1, 2, 3] and [ranks[key]["fused_rank"] for key in found] == [
        3,
        2,
        1,
    ]


def test_each_stage_is_timed_in_order() -> None:
    _, explanation = explained()
    names = [stage["name"] for stage in explanation["stages"]]
    assert (
        names[:3] == ["drop_empty_texts", "prepare_queries", "fetch_candidates"] and names[-1] == "complete_paragraphs"
    )
    fetched = explanation["stages"][2]
    assert fetched["points"] == 3 and fetched["milliseconds"] >= 0
