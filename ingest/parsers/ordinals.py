"""The numbers of lists, as their kind of list writes them."""

from __future__ import annotations

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_MAX_ROMAN = 3999


def ordinal(number: int, kind: str) -> str:
    """Return a number in letters, in Roman numerals or in digits.

    Args:
        number: The number, from 1; others are written in digits.
        kind: A name that contains `alpha` or `roman`, and `Uc` for capitals; every other kind is of digits.
    """
    name = kind.lower()
    if number < 1 or ("alpha" not in name and "roman" not in name) or number > _MAX_ROMAN:
        return str(number)
    letters = _roman(number) if "roman" in name else chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
    return letters.upper() if "uc" in name else letters


def _roman(number: int) -> str:
    written = ""
    for value, letters in _ROMAN:
        written += letters * (number // value)
        number %= value
    return written
