"""Finds the sentences of a text that are about a question, by the words that they share. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from inference.text.overlap import terms_of

#: Longer sentences are divided into their lines, and cut at this length.
LONGEST_SENTENCE = 300
#: What a number counts in a sentence if the question asks for one: as much as a term that no other sentence has.
NUMBER_SCORE = 1.0
_ENDS = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|[。！？]|\n\s*\n")
_COMPLETE = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")
#: A line of a table that is written as records: `Part: valve; Stock: 12`.
_RECORD = re.compile(r"[^:;\n]{1,80}: .*; [^:;\n]{1,80}: ")
_NUMBER_WANTED = re.compile(
    r"\bhow (many|much|long|often|far|old|high|tall|deep|wide|heavy|large|big|fast|thick|hot|warm)\b"
    r"|\b(when|what time|which year|what year|which date|number|price|cost|costs|fee)\b",
    re.IGNORECASE,
)


def best_sentences(text: str, question: str, count: int) -> list[str]:
    """Return the sentences of `text` that share the most with the question, at most `count`, the best one last.

    A term that few sentences have counts more than one that all have. If the question asks for a number, sentences
    count more that have one which is not in the question. Headings are left out if there are sentences.
    """
    sentences = sentences_of(text)
    sentences = [sentence for sentence in sentences if _is_complete(sentence)] or sentences
    asked = terms_of(question)
    wants_number = bool(_NUMBER_WANTED.search(question))
    terms = [terms_of(sentence) for sentence in sentences]
    frequency = Counter(term for known in terms for term in known & asked)
    scores = []
    for known in terms:
        score = sum(1 / frequency[term] for term in sorted(known & asked))
        has_number = wants_number and any(term[0].isdigit() for term in known - asked)
        scores.append(score + NUMBER_SCORE if score and has_number else score)
    ranked = sorted(range(len(sentences)), key=lambda at: -scores[at])
    return [sentences[at] for at in reversed(ranked[:count]) if scores[at]]


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text, each on one line. A record of a table is a sentence."""
    parts: list[str] = []
    for part in _divided(text):
        is_whole = len(part) <= LONGEST_SENTENCE and not _RECORD.search(part)
        pieces = [part] if is_whole else part.splitlines()
        parts += [" ".join(piece.split())[:LONGEST_SENTENCE] for piece in pieces]
    return [part for part in parts if part]


def _is_complete(sentence: str) -> bool:
    return bool(_COMPLETE.search(sentence) or _RECORD.match(sentence))


def _divided(text: str) -> Iterator[str]:
    start = 0
    for end in _ENDS.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    yield text[start:]
