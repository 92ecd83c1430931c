"""Codes in texts: part numbers, versions, dotted numbers and dates, each as one term besides its parts. Pure.

The encoder of BM25 takes words apart wherever letters and digits end, so "12.3" would be no more than a 12 and a 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

#: Joins the digits of one term where the text has a separator: a letter to the encoder, and in no text.
_DOT = "\ua78f"
#: Stands for the sign of a power between digits (10^5), so that it is not the number 10.5; twice for a negative one.
_POWER = "\ua78c"
_SEPARATORS = r"\-\u2010-\u2015\u2212./_:+"
_DIGIT = re.compile(r"\d")
#: Words, joined by separators. A comma joins digits only.
_RUN = re.compile(rf"[^\W_]+(?:(?:[{_SEPARATORS}]|(?<=\d)(?:,|\^-?)(?=\d))[^\W_]+)*")
_EXPONENT = re.compile(r"(?<=\d)\^(-?)(?=\d)")
_PART = re.compile(r"[^\W_]+")
#: A number with separators within a run, such as that of a version.
_NUMBER = re.compile(rf"(?<!\d)\d+(?:[{_SEPARATORS},]\d+)+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PLAIN_CODE = re.compile(r"0\d{2,}|\d{6,}")
_PIECE = re.compile(r"\d+|\D+")
#: Longer runs are no codes that a person would type, but data.
LONGEST_CODE = 64
#: Shorter letters and digits of a word say nothing by themselves.
_LEAST_PIECE = 2
#: Most words whose codes are kept, and their greatest length, with marks around them. Texts share most of their words.
_KEPT_WORDS, _LONGEST_KEPT = 16_384, 2 * LONGEST_CODE


def codes_in(text: str) -> list[str]:
    """Return the codes of a text, each as one word: those with letters and digits, and numbers with separators.

    A code is written without separators, so that AB-1207 and AB1207 are the same; only digits stay apart (12.3). Plain
    numbers are codes if they have a leading zero or many digits: such numbers are no amounts or years.
    """
    found = ((run, _as_word(run)) for near in text.split() for run in _runs(near))
    return [code or run for run, code in found if code is not None or _PLAIN_CODE.fullmatch(run)]


def with_codes(text: str) -> str:
    """Return the text followed by its codes, and by the letters and the digits of those that have both in one word."""
    # Most words are letters alone, so these are passed over first.
    words = [word for near in text.split() if not near.isalpha() for word in _words_of_codes(near)]
    return f"{text} {' '.join(words)}" if words else text


def _words_of_codes(near: str) -> Sequence[str]:
    """Return what `with_codes` adds for characters other than white space."""
    return _kept_words_of_codes(near) if len(near) <= _LONGEST_KEPT else _code_words(near)


@lru_cache(_KEPT_WORDS)
def _kept_words_of_codes(near: str) -> Sequence[str]:
    return _code_words(near)


def _code_words(near: str) -> Sequence[str]:
    if near.isalnum():  # it has no separators, so that it is one word already
        return () if near.isdigit() or len(near) > LONGEST_CODE else _pieces(near)
    words: list[str] = []
    for run in _runs(near):
        code = _as_word(run)
        if code is None:
            continue
        if code != run.lower():
            words.append(code)
        plain = _THOUSANDS.sub("", run)
        words += _PART.findall(plain) if plain != run else []
        words += [_joined(number[0]) for number in _NUMBER.finditer(plain) if number[0] != plain]
        for part in _PART.findall(plain):
            words += _pieces(part)
    return words


def _pieces(part: str) -> list[str]:
    """Return the letters and the digits of a word that has both."""
    pieces = _PIECE.findall(part)
    return [piece for piece in pieces if len(piece) >= _LEAST_PIECE] if len(pieces) > 1 else []


def _runs(near: str) -> Iterator[str]:
    """Yield the runs with a digit among characters other than white space."""
    if _DIGIT.search(near):
        for found in _RUN.finditer(near):
            run = found[0]
            if len(run) <= LONGEST_CODE and any(map(str.isdigit, run)):
                yield run


def _as_word(run: str) -> str | None:
    """Return a run as one word, or None if it is a plain number or has too few digits to say anything."""
    plain = _THOUSANDS.sub("", run)
    return None if plain.isdigit() and plain == run else _joined(plain)


def _joined(run: str) -> str:
    if "^" in run:
        run = _EXPONENT.sub(lambda sign: _POWER * (2 if sign[1] else 1), run)
    parts = _PART.findall(run)
    word: str = parts[0].lower()
    for part in parts[1:]:
        between = _DOT if word[-1].isdigit() and part[0].isdigit() else ""
        word += between + part.lower()
    return word
