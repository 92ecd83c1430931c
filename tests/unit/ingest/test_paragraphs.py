"""The rest of the paragraphs that a hit is cut out of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from core.messages import SearchOptions
from ingest.retrieval.paragraphs import CompleteParagraphs
from ingest.retrieval.search import RankedPoint, Search
from ingest.vector_store import ScoredPoint, VectorStore, point_id

TEXT = "One ends.\n\nTwo begins here and goes on. It goes on.\n\nThree is last."


class Payloads:
    """The payloads of the chunks of a text, cut at these offsets."""

    def __init__(self, text: str, cuts: Sequence[tuple[int, int]], section: str | None = None) -> None:
        self.chunks = [
            {
                "document_id": "doc", "generation": 1, "chunk_index": at, "text": text[start:end], "start": start,
                "end": end, "section": section,
            }
            for at, (start, end) in enumerate(cuts)
        ]  # fmt: skip

    def payloads(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        known = {point_id("doc", 1, at): chunk for at, chunk in enumerate(self.chunks)}
        return {key: known[key] for key in ids if key in known}

    def completed(self, at: int) -> tuple[str, str]:
        hit = RankedPoint(ScoredPoint(self.chunks[at], 1.0, None, None, "id"), cast(VectorStore, self))
        search = Search(SearchOptions(top_k=1, paragraphs=True), ranking=[hit])
        [found] = CompleteParagraphs().run(search).ranking
        return found.point.payload["before"], found.point.payload["after"]


@pytest.mark.parametrize(
    ("cuts", "at", "expected"),
    [
        ([(0, 21), (22, 39), (40, len(TEXT))], 1, ("Two begins ", " It goes on.")),
        ([(0, 26), (22, 44), (40, len(TEXT))], 1, ("Two begins ", "oes on.")),
        ([(0, 9), (11, 51), (53, len(TEXT))], 1, ("", "")),
        ([(0, 21), (22, 39), (40, len(TEXT))], 0, ("", " here and goes on.")),
    ],
)
def test_a_hit_gets_the_rest_of_its_paragraphs(cuts: list[tuple[int, int]], at: int, expected: tuple[str, str]) -> None:
    assert Payloads(TEXT, cuts).completed(at) == expected


def test_rows_of_tables_are_no_paragraphs() -> None:
    table = "Part: valve; Stock: 12\nPart: hose; Stock: 7"
    assert Payloads(table, [(0, 22), (23, len(table))]).completed(0) == ("", "")


def test_nothing_is_read_unless_it_is_asked_for() -> None:
    search = Search(SearchOptions(top_k=1))
    assert CompleteParagraphs().run(search) is search
