"""Finds the sentences of a hit that answer the query best. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from core.messages import Highlight
from core.table_records import is_record
from ingest.vector_store.sparse import document_terms

#: The most sentences of a hit.
MOST_HIGHLIGHTS = 2
#: A sentence after the best one has at least this share of its score.
LEAST_SHARE = 0.6
#: Longer sentences are cut between words.
LONGEST_SENTENCE = 400
#: The most sentences of a hit that are looked at, which a chunk hardly ever has.
MOST_SENTENCES = 200
_END = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|[。！？]")


def highlights(text: str, weights: Sequence[Mapping[int, float]]) -> list[Highlight]:
    """Return the sentences of a text that have most of the terms of a query, best first; none if no sentence has any.

    A term counts by its rarity among the chunks, and less if many sentences of the text have it.

    Args:
        weights: of the terms of each query, by their ids.
    """
    spans = list(_sentences(text))[:MOST_SENTENCES]
    asked = set[int]().union(*weights)
    held = [asked & set(document_terms(text[start:end]).indices) for start, end in spans]
    frequency = Counter(term for terms in held for term in terms)
    scores = [
        max((sum(own.get(term, 0.0) / frequency[term] for term in terms) for own in weights), default=0.0)
        for terms in held
    ]
    best = sorted(range(len(spans)), key=lambda at: (-scores[at], at))[:MOST_HIGHLIGHTS]
    return [
        Highlight(text[spans[at][0] : spans[at][1]], *spans[at])
        for at in best
        if scores[at] > 0 and scores[at] >= LEAST_SHARE * scores[best[0]]
    ]


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each sentence, without white space around it. Lines of tables are sentences."""
    for line_start, line_end in _lines(text):
        start = line_start
        ends = () if is_record(text[line_start:line_end]) else _END.finditer(text, line_start, line_end)
        for end in (*(found.end() for found in ends), line_end):
            body = text[start:end]
            left, right = start + len(body) - len(body.lstrip()), start + len(body.rstrip())
            start = end
            if right > left:
                yield from _pieces(text, left, right)


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for line in text.splitlines(keepends=True):
        yield start, start + len(line)
        start += len(line)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > LONGEST_SENTENCE:
        cut = text.rfind(" ", start + 1, start + LONGEST_SENTENCE)
        cut = cut if cut > start else start + LONGEST_SENTENCE
        yield start, cut
        start = cut + (text[cut] == " ")
    if end > start:
        yield start, end
