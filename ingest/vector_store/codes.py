"""Codes in texts: part numbers, versions, dotted numbers and dates, each as one term besides its parts. Pure.

The encoder of BM25 takes words apart wherever letters and digits end, so "12.3" would be no more than a 12 and a 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Joins the digits of one term where the text has a separator: a letter to the encoder, and in no text.
_DOT = "\ua78f"
_SEPARATORS = r"\-\u2010-\u2015\u2212./_:+"
#: A run of characters other than white space, with a digit.
_WITH_DIGIT = re.compile(r"(?<!\S)(?=\S*\d)\S+")
#: Words, joined by separators. A comma joins digits only.
_RUN = re.compile(rf"[^\W_]+(?:(?:[{_SEPARATORS}]|(?<=\d),(?=\d))[^\W_]+)*")
_PART = re.compile(r"[^\W_]+")
#: A number with separators within a run, such as that of a version.
_NUMBER = re.compile(rf"(?<!\d)\d+(?:[{_SEPARATORS},]\d+)+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PLAIN_CODE = re.compile(r"0\d{2,}|\d{6,}")
_BOUNDARY = re.compile(r"(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)")
#: Longer runs are no codes that a person would type, but data.
LONGEST_CODE = 64
#: Shorter letters and digits of a word say nothing by themselves.
_LEAST_PIECE = 2


def codes_in(text: str) -> list[str]:
    """Return the codes of a text, each as one word: those with letters and digits, and numbers with separators.

    A code is written without separators, so that AB-1207 and AB1207 are the same; only digits stay apart (12.3). Plain
    numbers are codes if they have a leading zero or many digits: such numbers are no amounts or years.
    """
    found = ((run, _as_word(run)) for run in _runs(text))
    return [code or run for run, code in found if code is not None or _PLAIN_CODE.fullmatch(run)]


def with_codes(text: str) -> str:
    """Return the text followed by its codes, and by the letters and the digits of those that have both in one word."""
    words: list[str] = []
    for run in _runs(text):
        code = _as_word(run)
        if code is None:
            continue
        if code != run.lower():
            words.append(code)
        plain = _THOUSANDS.sub("", run)
        words += _PART.findall(plain) if plain != run else []
        words += [_joined(number[0]) for number in _NUMBER.finditer(plain) if number[0] != plain]
        for part in _PART.findall(plain):
            pieces = _BOUNDARY.split(part)
            if len(pieces) > 1:
                words += [piece for piece in pieces if len(piece) >= _LEAST_PIECE]
    return f"{text} {' '.join(words)}" if words else text


def _runs(text: str) -> Iterator[str]:
    # Nearly all words have no digit, so these are passed over first.
    for near in _WITH_DIGIT.finditer(text):
        for found in _RUN.finditer(near[0]):
            run = found[0]
            if len(run) <= LONGEST_CODE and any(map(str.isdigit, run)):
                yield run


def _as_word(run: str) -> str | None:
    """Return a run as one word, or None if it is a plain number or has too few digits to say anything."""
    plain = _THOUSANDS.sub("", run)
    return None if plain.isdigit() and plain == run else _joined(plain)


def _joined(run: str) -> str:
    parts = _PART.findall(run)
    word: str = parts[0].lower()
    for part in parts[1:]:
        between = _DOT if word[-1].isdigit() and part[0].isdigit() else ""
        word += between + part.lower()
    return word
