"""Checks whether the sources of an answer can be what it says they are: an answer to the question. Pure.

A model answers whatever it is asked, with a number or a name that stands near by if the right one is nowhere. Three
signs of that need no model: a name or number of the question that no source has, most of what is asked for missing
from the sources, and sentences of the answer that no source supports.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.messages import Grounding
from inference.text.attributes import are_related
from inference.text.overlap import support, terms_of
from inference.text.question_words import QuestionWord, question_words
from inference.text.sentences import sentences_of
from inference.text.sources import Source

#: If the sources lack this share of the words that say what is asked for, they do not answer: more than two of three.
MISSING_SHARE = 0.67
#: A sentence of the answer is supported by a source that has this share of its words, and all of its numbers.
SUPPORTED_SHARE = 0.34
#: What is reported of each.
MOST_REPORTED = 8
_CITATION = re.compile(r"(?:(?<!\s)\s++)?\[\d+\]")
#: Words of questions that say nothing about what is asked for.
_LIGHT = terms_of(
    "much many often long far take takes took taken use used uses using give gives gave given need needs needed keep "
    "keeps kept hold holds held get gets got make makes made place kind sort type name called call new old each every "
    "go goes come comes happen happens my me we us please tell explain describe number time times year day way thing "
    "large big high whom whose sit sits exactly currently now today still ever never been being having per own"
)


def grounding_of(question: str, answer: str, sources: Sequence[Source]) -> Grounding:
    """Return what the sources lack of the question and of the answer, which may have citation markers."""
    words = _missing_words(question, [_Passage(terms_of(one.heading), terms_of(one.text)) for one in sources])
    return Grounding(words[:MOST_REPORTED], _unsupported(answer, sources)[:MOST_REPORTED])


@dataclass(frozen=True)
class _Passage:
    heading: frozenset[str]
    text: frozenset[str]

    @property
    def terms(self) -> frozenset[str]:
        return self.heading | self.text


def _missing_words(question: str, passages: Sequence[_Passage]) -> list[str]:
    """Return the names that no passage has, and the words that the best one lacks if it lacks too many of them."""
    words = question_words(question)
    names = [word for word in words if word.is_name]
    others = [word for word in words if not word.is_name and word.terms and not word.terms <= _LIGHT]
    known = frozenset[str]().union(*(passage.terms for passage in passages))
    counts = [sum(word.terms <= passage.terms for word in names) for passage in passages]
    about = [passage for passage, count in zip(passages, counts, strict=True) if count == max(counts)]
    missing = min((_missing_from(passage, others) for passage in about), key=len, default=[])
    found = [*(word for word in names if not word.terms <= known), *missing]
    return list(dict.fromkeys(word.text for word in found))


def _missing_from(passage: _Passage, words: Sequence[QuestionWord]) -> list[QuestionWord]:
    """Return the words that the passage lacks, or none if it has enough. What its heading has is not asked for."""
    asked = [word for word in words if not word.terms <= passage.heading]
    missing = [word for word in asked if not _is_known(word, passage.terms)]
    return missing if _weight(missing) >= MISSING_SHARE * _weight(asked) else []


def _weight(words: Sequence[QuestionWord]) -> float:
    return sum(word.weight for word in words)


def _is_known(word: QuestionWord, known: frozenset[str]) -> bool:
    return word.terms <= known or all(any(are_related(term, other) for other in known) for term in word.terms)


def _unsupported(answer: str, sources: Sequence[Source]) -> list[str]:
    """Return the sentences of the answer that no source supports. Short ones, such as "Yes.", need no support."""
    texts = [f"{one.heading}\n{one.text}" for one in sources]
    return [
        sentence
        for sentence in sentences_of(_CITATION.sub("", answer))
        if terms_of(sentence) and max((support(sentence, text) for text in texts), default=0) < SUPPORTED_SHARE
    ]
