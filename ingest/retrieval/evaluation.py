"""Measures how well searches find what questions expect: recall, nDCG, MRR and time. Pure but for the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any

from core.messages import EvaluatedQuestion, EvaluatedSetting, Hit, SearchOptions

#: Returns the hits for a question, best first.
Find = Callable[[str, SearchOptions], list[Hit]]


def evaluation_of(
    questions: Sequence[EvaluatedQuestion], settings: Sequence[EvaluatedSetting], find: Find
) -> dict[str, Any]:
    """Return the report of an evaluation, as JSON.

    `settings` has the means over the questions for each setting: `recall` (the share of what is expected that is among
    the hits), `ndcg`, `mrr` (1 / the rank of the first hit that is expected), and the milliseconds of a search.
    `questions` has, for each question and setting, the rank of everything that is expected, from 1, or null.
    """
    ranks: dict[str, list[list[int | None]]] = {}
    milliseconds: dict[str, list[float]] = {}
    for setting in settings:
        ranks[setting.name], milliseconds[setting.name] = [], []
        for question in questions:
            started = time.perf_counter()
            hits = find(question.question, setting)
            milliseconds[setting.name].append((time.perf_counter() - started) * 1000)
            ranks[setting.name].append(ranks_of(question, hits))
    return {
        "object": "rag.evaluation",
        "settings": [
            {
                "name": setting.name,
                "top_k": setting.top_k,
                **{name: round(value, 4) for name, value in scores_of(ranks[setting.name]).items()},
                "mean_ms": round(fmean(milliseconds[setting.name]), 1),
                "p95_ms": round(sorted(milliseconds[setting.name])[int(0.95 * (len(questions) - 1))], 1),
            }
            for setting in settings
        ],
        "questions": [
            {
                "question": question.question,
                "expected": [*question.files, *question.passages],
                "ranks": {setting.name: ranks[setting.name][at] for setting in settings},
            }
            for at, question in enumerate(questions)
        ],
    }


def ranks_of(question: EvaluatedQuestion, hits: Sequence[Hit]) -> list[int | None]:
    """Return the rank of the first hit for each expected file and passage, from 1, or None if there is none."""
    texts = [_words(hit.text) for hit in hits]
    by_file = [_first(is_from(hit, file) for hit in hits) for file in question.files]
    by_text = [_first(_words(passage) in text for text in texts) for passage in question.passages]
    return [*by_file, *by_text]


def is_from(hit: Hit, file: str) -> bool:
    """Return whether a hit is from a file, named by its id, its name, its path, or the end of its path."""
    return file in (hit.document_id, hit.filename, hit.path) or (hit.path or "").endswith(f"/{file.lstrip('/')}")


def scores_of(ranks: Sequence[Sequence[int | None]]) -> dict[str, float]:
    """Return the means of recall, nDCG and MRR over questions, each with the ranks of what it expects."""
    return {"recall": fmean(map(_recall, ranks)), "ndcg": fmean(map(_ndcg, ranks)), "mrr": fmean(map(_mrr, ranks))}


def _recall(ranks: Sequence[int | None]) -> float:
    return sum(rank is not None for rank in ranks) / len(ranks)


def _ndcg(ranks: Sequence[int | None]) -> float:
    """Return the discounted gain of a question. A hit that is expected twice, by file and by text, gains once.

    So the ideal has one rank for each hit that is found, and one for everything that is not.
    """
    found = sorted({rank for rank in ranks if rank is not None})
    ideal = len(found) + sum(rank is None for rank in ranks)
    return sum(map(_gain, found)) / sum(map(_gain, range(1, ideal + 1)))


def _gain(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def _mrr(ranks: Sequence[int | None]) -> float:
    return 1 / min((rank for rank in ranks if rank is not None), default=math.inf)


def _first(matches: Iterable[bool]) -> int | None:
    return next((rank for rank, matched in enumerate(matches, 1) if matched), None)


def _words(text: str) -> str:
    return " ".join(text.casefold().split())
