"""The measures of a search: recall, nDCG and MRR of what questions expect."""

from __future__ import annotations

import pytest

from core.messages import EvaluatedQuestion, EvaluatedSetting, Hit, SearchOptions
from ingest.retrieval.evaluation import evaluation_of, ranks_of, scores_of

HITS = [
    Hit("doc-1", 0, "The pump\n is red.", 1.0, "a.txt", "default", path="manuals/a.txt"),
    Hit("doc-2", 0, "Whales sing.", 0.5, "b.txt", "default", path="notes/b.txt"),
]


@pytest.mark.parametrize(
    ("question", "ranks"),
    [
        (EvaluatedQuestion("?", files=["b.txt"]), [2]),
        (EvaluatedQuestion("?", files=["notes/b.txt", "doc-1", "c.txt", "es/b.txt"]), [2, 1, None, None]),
        (EvaluatedQuestion("?", passages=["the PUMP is red", "whales dance"]), [1, None]),
        (EvaluatedQuestion("?", files=["a.txt"], passages=["Whales"]), [1, 2]),
    ],
)
def test_files_and_passages_have_the_rank_of_their_first_hit(
    question: EvaluatedQuestion, ranks: list[int | None]
) -> None:
    assert ranks_of(question, HITS) == ranks


def test_the_measures_are_means_over_the_questions() -> None:
    assert scores_of([[1], [1, 2]]) == {"recall": 1.0, "ndcg": 1.0, "mrr": 1.0}
    assert scores_of([[None], [None, None]]) == {"recall": 0.0, "ndcg": 0.0, "mrr": 0.0}
    assert scores_of([[2], [None, 1]]) == pytest.approx({"recall": 0.75, "ndcg": 0.622, "mrr": 0.75}, abs=0.001)
    assert scores_of([[1, 1]])["ndcg"] == 1.0, "a file and a passage of it are one hit"


def test_settings_are_compared_question_by_question() -> None:
    def find(question: str, options: SearchOptions) -> list[Hit]:
        return HITS[: options.top_k] if question == "red?" else []

    questions = [EvaluatedQuestion("red?", files=["b.txt"]), EvaluatedQuestion("song?", files=["b.txt"])]
    report = evaluation_of(
        questions, [EvaluatedSetting(name="one", top_k=1), EvaluatedSetting(name="two", top_k=2)], find
    )
    assert [(row["name"], row["top_k"], row["recall"]) for row in report["settings"]] == [
        ("one", 1, 0),
        ("two", 2, 0.5),
    ]
    assert report["questions"][0] == {"question": "red?", "expected": ["b.txt"], "ranks": {"one": [None], "two": [2]}}
    assert all(row["mean_ms"] >= 0 and row["p95_ms"] >= 0 for row in report["settings"])
