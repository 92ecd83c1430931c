"""Finds the sentences of a text that are about a question, by the words that they share. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from core.table_records import is_record
from inference.text.attributes import are_related
from inference.text.overlap import terms_of
from inference.text.question_words import question_words
from inference.text.records import own_terms, record_of
from inference.text.sources import Source

#: Longer sentences are divided into their lines, and cut at this length; records of tables are only cut.
LONGEST_SENTENCE = 300
#: What a number counts in a sentence if the question asks for one: as much as a term that no other sentence has.
NUMBER_SCORE = 1.0
#: What a term counts that only a related one stands for, and a name that an earlier sentence has.
RELATED_SHARE, EARLIER_SHARE = 0.6, 0.9
_ENDS = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|[。！？]|\n\s*\n")
_COMPLETE = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")
_NUMBER_WANTED = re.compile(
    r"\bhow (many|much|long|often|far|old|high|tall|deep|wide|heavy|large|big|fast|thick|hot|warm)\b"
    r"|\b(when|what time|which year|what year|which date|number|price|cost|costs|fee)\b",
    re.IGNORECASE,
)


def best_sentences(sources: Sequence[Source], question: str, count: int) -> list[str]:
    """Return the sentences of the sources that share the most with the question, at most `count`, the best one last.

    A term that few sentences have counts more than one that all have. A sentence is also about what its source's
    heading says and about the names before it: "It needs a fuse of 10 A." If the question asks for a number, sentences
    count more that have one which is not in the question. Headings are left out if there are sentences. Of a record of
    a table, the cells that the question is about are returned, and no record of which it names only the columns.
    """
    asked = terms_of(question)
    names = frozenset[str]().union(*(word.terms for word in question_words(question) if word.is_name))
    sentences = [sentence for source in sources for sentence in _candidates(source, asked, names)]
    frequency = Counter(term for sentence in sentences for term in sentence.shares)
    wants_number = bool(_NUMBER_WANTED.search(question))

    def score(sentence: _Sentence) -> float:
        shared = sum(share / frequency[term] for term, share in sorted(sentence.shares.items()))
        return shared + NUMBER_SCORE * (wants_number and sentence.has_number)

    best = sorted(sentences, key=score, reverse=True)[:count]
    return [sentence.text[:LONGEST_SENTENCE] for sentence in reversed(best)]


@dataclass(frozen=True)
class _Sentence:
    """A sentence that shares something with a question.

    Attributes:
        shares: the terms of the question that it is about, and how much of each, 0 to 1.
        has_number: whether it has a number that is not in the question.
    """

    text: str
    shares: Mapping[str, float]
    has_number: bool


def _candidates(source: Source, asked: frozenset[str], names: frozenset[str]) -> Iterator[_Sentence]:
    """Yield the sentences of a source that have terms of the question, or related ones."""
    sentences = sentences_of(source.text)
    sentences = [sentence for sentence in sentences if _is_complete(sentence)] or sentences
    records = {at: record for at, sentence in enumerate(sentences) if (record := record_of(sentence))}
    own = dict(zip(records, own_terms(list(records.values())), strict=True))
    known_before = dict.fromkeys(terms_of(source.heading) & asked, 1.0)
    for at, sentence in enumerate(sentences):
        terms = terms_of(sentence)
        has_number = any(term[0].isdigit() for term in terms - asked)
        if at in records:
            if own[at] & asked:
                yield _Sentence(records[at].asked_cells(asked, own[at]), dict.fromkeys(terms & asked, 1.0), has_number)
            continue
        related = {term for term in asked - terms if any(are_related(term, other) for other in terms)}
        shares = dict.fromkeys(related, RELATED_SHARE) | known_before | dict.fromkeys(terms & asked, 1.0)
        if related or terms & asked:
            yield _Sentence(sentence, shares, has_number)
        known_before |= {name: EARLIER_SHARE for name in names & terms if name not in known_before}


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text, each on one line. A record of a table is a sentence."""
    sentences: list[str] = []
    for are_records, lines in groupby(text.splitlines(), is_record):
        if are_records:
            sentences += (" ".join(line.split()) for line in lines)
            continue
        for part in _divided("\n".join(lines)):
            pieces = [part] if len(part) <= LONGEST_SENTENCE else part.splitlines()
            sentences += (" ".join(piece.split())[:LONGEST_SENTENCE] for piece in pieces)
    return [sentence for sentence in sentences if sentence]


def _is_complete(sentence: str) -> bool:
    return bool(_COMPLETE.search(sentence) or is_record(sentence))


def _divided(text: str) -> Iterator[str]:
    start = 0
    for end in _ENDS.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    yield text[start:]
