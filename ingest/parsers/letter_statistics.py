"""Distinguishes words from gibberish by their letters, before text is believed that a program has recognised.

Ours, since detectors of languages need more text than a page with a stamp has, and name a language for anything.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]{3,}")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ0-9]+")
#: Within a word: a capital or a digit after a small letter, a small letter after a digit or two capitals, and letters
#: that no word has in such a number.
_ODD = re.compile(r"[a-zß-öø-ÿ][A-ZÀ-Þ0-9]|\d[a-zß-öø-ÿ]|[A-ZÀ-Þ]{2}[a-zß-öø-ÿ]|[bcdfghjklmnpqrstvwxz]{6}|(.)\1\1")
_VOWEL = re.compile(r"[aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýÿœ]", re.I)
#: Codes and abbreviations are odd words too, so a text is gibberish only if this share of its words is.
_MAX_ODD_SHARE = 0.3
_MIN_WORDS = 2


def is_gibberish(text: str) -> bool:
    """Return whether most of a text cannot be words: too many of them have letters that do not go together.

    This is judged for Latin letters alone. A text of one word is taken for a code.
    """
    words = [word for word in _WORD.findall(text) if _LATIN.fullmatch(word) and not word.isdecimal()]
    if len(words) < _MIN_WORDS:
        return not words and not any(map(str.isalnum, text))
    odd = sum(_ODD.search(word) is not None or _VOWEL.search(word) is None for word in words)
    return odd > _MAX_ODD_SHARE * len(words)
