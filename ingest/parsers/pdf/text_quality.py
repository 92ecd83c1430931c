"""Tells text from gibberish, by statistics of its letters: some PDFs map their glyphs to wrong characters."""

from __future__ import annotations

import re
import unicodedata

import numpy as np

#: Fewer letters say nothing.
_MIN_LETTERS = 120
#: The share of letters among the characters that are not spaces; codes and numbers have no statistics.
_MIN_LETTER_SHARE = 0.55
#: The least correlation of the frequencies of the letters with those below.
LEAST_PLAUSIBILITY = 0.3
#: Below this one, an OCR decides.
DOUBTFUL = 0.5
_CODES = 128
#: More characters without a meaning than this share are gibberish.
_MAX_UNKNOWN_SHARE = 0.3
_MIN_CHARACTERS = 20
#: How often a to z are found in texts of European languages, in tenths of a percent, averaged over English, French,
#: German, Spanish, Italian, Portuguese, Dutch, Polish, Swedish and Finnish.
_USUAL = np.array(
    [95, 14, 32, 42, 137, 12, 19, 25, 80, 8, 20, 46, 29, 76, 68, 24, 5, 67, 66, 68, 36, 16, 10, 3, 12, 11], np.float64
)
_USUAL -= _USUAL.mean()
_USUAL /= np.sqrt(_USUAL @ _USUAL)
_UNKNOWN = re.compile("[\ue000-\uf8ff\ufffd\U000f0000-\U0010ffff\x01-\x08\x0e-\x1f]")


def plausibility(text: str) -> float:
    """Return from -1 to 1 how much a text is like text of a language; 1 if its letters say nothing about that."""
    characters = len(text) - sum(map(text.count, " \n\r\t"))
    if characters < _MIN_CHARACTERS:
        return 1.0
    if not text.isascii() and len(_UNKNOWN.findall(text)) > _MAX_UNKNOWN_SHARE * characters:
        return -1.0
    plain = text if text.isascii() else unicodedata.normalize("NFD", text)
    codes = np.frombuffer(plain.lower().encode("ascii", "ignore"), np.uint8)
    counts = np.bincount(codes, minlength=_CODES)[ord("a") : ord("z") + 1]
    letters = int(counts.sum())
    if letters < _MIN_LETTERS or letters < _MIN_LETTER_SHARE * characters or counts.max() == counts.min():
        return 1.0
    centred = counts - counts.mean()
    return float(centred @ _USUAL / np.sqrt(centred @ centred))


def same_words(text: str, other: str) -> float:
    """Return the share of the longer words of a text that another one has too."""
    words = {word for word in text.lower().split() if len(word) > 2}
    return len(words & set(other.lower().split())) / len(words) if words else 1.0
