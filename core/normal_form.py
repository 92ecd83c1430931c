"""The one form in which texts, names and queries are compared: however a word is encoded, it is the same word."""

from __future__ import annotations

import re
import unicodedata

#: Characters that take no room on a page: soft hyphens, zero-width spaces and joiners, marks of direction, variation
#: selectors and tags.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e0fff]"
)
_RAISED = "\u00b2\u00b3\u00b9\u2070\u2071\u2074-\u207f"
#: Raised digits after a digit or after a whole word, which compatibility forms would join to it. After the one to three
#: letters of a unit they stay: `m²` is the word `m2`.
_EXPONENT = re.compile(f"(?<=\\d)(?=[{_RAISED}])|(?<=[^\\W\\d_]{{4}})(?=[\u00b2\u00b3\u00b9\u2070\u2074-\u2079])")
#: Lowered digits after a digit, and fractions, circled numbers and square units after a digit.
_APART = re.compile("(?<=\\d)(?=[\u2080-\u208e\u00bc-\u00be\u2150-\u215e\u2189\u2460-\u24ff\u3300-\u33ff])")
#: All characters before which those two expressions match. Few texts have one, and the expressions are slow.
_SET_APART = re.compile(f"[{_RAISED}\u2080-\u208e\u00bc-\u00be\u2150-\u215e\u2189\u2460-\u24ff\u3300-\u33ff]")
_SIGNS = (("\u2010", "-"), ("\u2011", "-"), ("\u2212", "-"), ("\u2018", "'"), ("\u2019", "'"), ("\u2044", "/"))


def normal_form(text: str) -> str:
    """Return the text in the form for comparing: NFKC without invisible characters, one sign for each hyphen and quote.

    Composed and decomposed, full-width and half-width forms and ligatures become equal. Raised digits stay apart from
    the number or word before them: `10⁵` becomes `10^5`. Upper and lower case stay different.
    """
    if text.isascii():
        return text
    text = _INVISIBLE.sub("", text)
    if _SET_APART.search(text):
        text = _APART.sub(" ", _EXPONENT.sub("^", text))
    text = unicodedata.normalize("NFKC", text)
    for sign, plain in _SIGNS:
        text = text.replace(sign, plain)
    return text
