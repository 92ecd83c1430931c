"""Measures the share of a sentence that a text contains: without a model, the best sign that it supports it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from Stemmer import Stemmer

#: Scripts without spaces between words are compared by pairs of characters.
_UNSPACED = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿฀-๿]")
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
_STOP_WORDS = frozenset(
    """
    a about after all also an and any are as at be because been before but by can could did do does for from had has
    have he her his how i if in into is it its may might more most must no not of on one only or other our out over
    she should so some such than that the their them then there these they this to under up was we were what when
    where which who why will with would you your according based context document documents information provided
    question answer yes
    """.split()  # noqa: SIM905 - a list of quoted words would be three times as long
)
_NUMBER_WORDS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
    """.split()  # noqa: SIM905
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)}
_NUMBERS |= {word: str(number) for number, word in zip(range(20, 100, 10), _TENS, strict=True)}


@lru_cache(maxsize=256)
def terms_of(text: str) -> frozenset[str]:
    """Return the stems of the words that carry meaning, and the numbers, whether written in digits or in words."""
    return frozenset(_terms(text))


def _terms(text: str) -> Iterable[str]:
    # A new one for each call, because a stemmer must not be shared between threads.
    stemmer = Stemmer("english")
    for match in _WORD.finditer(text.lower()):
        word = match.group()
        if _UNSPACED.search(word):
            yield from (word[at : at + 2] for at in range(max(1, len(word) - 1)))
        elif word[0].isdigit():
            yield word.rstrip(".,")
        elif word in _NUMBERS and word != "one":
            yield _NUMBERS[word]
        elif word not in _STOP_WORDS and (len(word) > 1):
            yield stemmer.stemWord(word)


def support(sentence: str, source: str) -> float:
    """Return the share of the sentence's terms that the source has, 0 to 1; 0 if it lacks one of the numbers."""
    terms, known = terms_of(sentence), terms_of(source)
    if not terms or any(term[0].isdigit() and term not in known for term in terms):
        return 0.0
    return len(terms & known) / len(terms)
