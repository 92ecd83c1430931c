"""Writes raised and lowered text so that it stays apart from the number or word before it."""

from __future__ import annotations

import re

_RAISED = str.maketrans("0123456789+-\u2212\u2013=()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁼⁽⁾")
_LOWERED = str.maketrans("0123456789+-\u2212\u2013=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₋₌₍₎")
#: Numbers that have raised and lowered forms in Unicode.
_NUMBER = re.compile(r"[-+\u2212\u2013=(]*\d[\d=()]*[-+\u2212\u2013]?")
#: Several notes, or a note that is a number with a letter.
_NOTES = re.compile(r"[\d*†‡§][\w*†‡§,;\s\u2013-]*")
_ORDINAL = re.compile(r"(?:st|nd|rd|th|e|er|ers|re|res|ère|ème|eme|o|os|a|as|de|ste|tm|sm)\.?", re.I)
_WORD = re.compile(r"[^\W_]+")


def raised(text: str, before: str) -> str:
    """Return raised text: `10⁵`, `25³`, `m²`, `1st`, `2^n`, `[1,2]`.

    Args:
        text: The raised text.
        before: The text before it, of which the last character matters.
    """
    core = text.strip()
    if _NUMBER.fullmatch(core):
        return text.replace(core, core.translate(_RAISED))
    if before[-1:].isalnum() and _NOTES.fullmatch(core) and core[0].isdigit():
        return text.replace(core, f"[{core}]")
    if before[-1:].isdigit() and _WORD.fullmatch(core) and not _ORDINAL.fullmatch(core):
        return text.replace(core, f"^{core}")
    return text


def lowered(text: str, before: str) -> str:
    """Return lowered text: `H2O`, but `1010₂` after a digit. The arguments are those of `raised`."""
    core = text.strip()
    if before[-1:].isdigit() and _NUMBER.fullmatch(core):
        return text.replace(core, core.translate(_LOWERED))
    return text


def note_reference(text: str) -> str:
    """Return the number of a note in brackets, unless it has some."""
    core = text.strip()
    return text.replace(core, f"[{core}]") if core and "[" not in core else text


def struck_out(text: str) -> str:
    """Return text that is struck out, marked as in Markdown: `~~text~~`."""
    core = text.strip()
    return text.replace(core, f"~~{core}~~") if core else text
