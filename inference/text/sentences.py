"""Finds the sentences of a text that are about a question, by the words that they share. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from inference.text.overlap import terms_of

#: Longer sentences are divided into their lines, and cut at this length.
LONGEST_SENTENCE = 300
_ENDS = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|[。！？]|\n\s*\n")
_COMPLETE = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")


def best_sentences(text: str, question: str, count: int) -> list[str]:
    """Return the sentences of `text` that share the most with the question, at most `count`, in the text's order.

    A term that few sentences have counts more than one that all have. Headings are left out if there are sentences.
    """
    sentences = sentences_of(text)
    sentences = [sentence for sentence in sentences if _COMPLETE.search(sentence)] or sentences
    asked = terms_of(question)
    terms = [terms_of(sentence) & asked for sentence in sentences]
    frequency = Counter(term for shared in terms for term in shared)
    scores = [sum(1 / frequency[term] for term in sorted(shared)) for shared in terms]
    ranked = sorted(range(len(sentences)), key=lambda at: -scores[at])
    return [sentences[at] for at in sorted(ranked[:count]) if scores[at]]


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text, each on one line."""
    parts: list[str] = []
    for part in _divided(text):
        pieces = [part] if len(part) <= LONGEST_SENTENCE else part.splitlines()
        parts += [" ".join(piece.split())[:LONGEST_SENTENCE] for piece in pieces]
    return [part for part in parts if part]


def _divided(text: str) -> Iterator[str]:
    start = 0
    for end in _ENDS.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    yield text[start:]
