"""Shows numbers as a spreadsheet shows them: by the format codes of Excel (ECMA-376, part 1, 18.8.31).

Names of months and days are English, and marks are those of English, whatever the locale: `1,234.50`. A date in a
format that depends on the reader's locale is shown in ISO format.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache

from ingest.parsers.office.date_formats import DATE_TOKENS, shown_date

#: The formats that have only a number in the file. Those that depend on the locale are missing.
BUILT_IN = {
    0: "General", 1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 5: '"$"#,##0', 6: '"$"#,##0', 7: '"$"#,##0.00',
    8: '"$"#,##0.00', 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?", 13: "# ??/??", 14: "yyyy-mm-dd",
    15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss",
    22: "yyyy-mm-dd h:mm", **dict.fromkeys(range(27, 32), "yyyy-mm-dd"), 32: "h:mm", 33: "h:mm:ss", 34: "h:mm",
    35: "h:mm:ss", 36: "yyyy-mm-dd", 37: "#,##0;-#,##0", 38: "#,##0;-#,##0", 39: "#,##0.00;-#,##0.00",
    40: "#,##0.00;-#,##0.00", 41: "#,##0;-#,##0", 42: '"$"#,##0;-"$"#,##0', 43: "#,##0.00;-#,##0.00",
    44: '"$"#,##0.00;-"$"#,##0.00', 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0", 49: "@",
    **dict.fromkeys(range(50, 59), "yyyy-mm-dd"),
}  # fmt: skip
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|_(?:.|$)|\*(?:.|$)|\[(?P<bracket>[^\]]*)\]'
    r"|(?P<general>General)|(?P<exponent>[Ee][+-])|(?P<noon>AM/PM|A/P)|(?P<second_part>\.0+(?=[^#?0,%]*$))"
    r"|(?P<date>y+|m+|d+|h+|s+|e+|b+)|(?P<digit>[0#?])|(?P<mark>[.,%/@])|(?P<literal>.)",
    re.I | re.S,
)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?[\d.]+)")
_CURRENCY = re.compile(r"\$([^-]*)")
_ELAPSED = re.compile(r"h+|m+|s+", re.I)
#: A longer format is a mistake; the number is then shown without it.
_MAX_CODE_CHARACTERS = 500
_MAX_DENOMINATOR_DIGITS = 7

#: Tokens: their kind and their text.
Token = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Section:
    tokens: tuple[Token, ...]
    condition: tuple[str, float] | None

    @property
    def is_date(self) -> bool:
        return any(kind in DATE_TOKENS for kind, _ in self.tokens)

    def has(self, kind: str) -> bool:
        return any(each == kind for each, _ in self.tokens)


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """A format code, divided into its sections for positive, negative and zero numbers and for text."""

    sections: tuple[_Section, ...]

    @property
    def is_date(self) -> bool:
        """Whether it shows numbers as dates, times or durations."""
        return bool(self.sections) and self.sections[0].is_date

    @property
    def is_elapsed(self) -> bool:
        """Whether it shows a duration, whose hours may exceed a day."""
        return bool(self.sections) and self.sections[0].has("elapsed")

    @property
    def is_general(self) -> bool:
        """Whether numbers and texts are shown as they are."""
        return not self.sections or self.sections == _GENERAL_SECTIONS

    def show(self, value: float, *, from_1904: bool = False) -> str:
        """Return the number as it is shown, or an empty string if the format hides it."""
        if self.is_general:
            return general(value)
        section, is_absolute = self._section_for(value)
        if section is None:
            return general(value)
        if section.is_date:
            # Dates before 1900 are errors in Excel.
            shown = shown_date(section.tokens, value, from_1904=from_1904)
            return general(value) if shown is None else shown
        number = abs(value)
        sign = "-" if value < 0 and not is_absolute else ""
        text = _shown_number(section, number)
        return f"{sign if any(mark in '123456789' for mark in text) else ''}{text}".strip()

    def show_text(self, text: str) -> str:
        """Return a text as the format's section for texts shows it."""
        section = next((each for each in self.sections if each.has("@")), None) if len(self.sections) > 1 else None
        section = section or (self.sections[0] if self.sections and self.sections[0].has("@") else None)
        if section is None:
            return text
        return "".join(text if kind == "@" else value if kind == "literal" else "" for kind, value in section.tokens)

    def _section_for(self, value: float) -> tuple[_Section | None, bool]:
        """Return the section for a number, and whether the section itself shows the sign."""
        numeric = [each for each in self.sections[:3] if not each.has("@") or len(self.sections) == 1]
        if any(each.condition for each in numeric):
            for number, section in enumerate(numeric):
                if section.condition is None or _holds(section.condition, value):
                    return section, number > 0 and section.condition is None and len(numeric) == 2
            return None, False
        if len(numeric) > 2 and value == 0:
            return numeric[2], True
        if len(numeric) > 1 and value < 0:
            return numeric[1], True
        return (numeric[0] if numeric else None), False


@lru_cache(maxsize=1024)
def number_format(code: str) -> NumberFormat:
    """Return the format of a code. A code that is too long is taken for `General`."""
    if len(code) > _MAX_CODE_CHARACTERS:
        return NumberFormat(())
    sections: list[list[Token]] = [[]]
    conditions: list[tuple[str, float] | None] = [None]
    for match in _TOKEN.finditer(code):
        kind, text = match.lastgroup or "", match[0]
        if kind == "literal" and text == ";":
            sections.append([])
            conditions.append(None)
        elif kind == "bracket":
            condition = _CONDITION.fullmatch(match["bracket"])
            if condition:
                conditions[-1] = (condition[1], _as_float(condition[2]))
            sections[-1] += _bracket_tokens(match["bracket"])
        elif kind in ("quoted", "escaped"):
            sections[-1].append(("literal", match[kind]))
        elif kind == "mark":
            sections[-1].append((text, text))
        elif kind:
            sections[-1].append((kind, text))
        else:
            # The width of a character, and a character that fills the cell.
            sections[-1].append(("literal", " " if text.startswith("_") else ""))
    return NumberFormat(tuple(map(_section, sections, conditions)))


def general(value: float) -> str:
    """Return a number without a format. Excel shows 15 digits; the further ones are errors of binary fractions."""
    return f"{value:.15g}".replace("e", "E")


def _section(tokens: list[Token], condition: tuple[str, float] | None) -> _Section:
    # A fraction of a second belongs to a date; elsewhere it is the decimals of a number.
    if not any(kind in ("date", "elapsed") for kind, _ in tokens):
        tokens = [
            each
            for kind, text in tokens
            for each in ([(".", "."), *[("digit", "0")] * (len(text) - 1)] if kind == "second_part" else [(kind, text)])
        ]
        # Outside dates, these letters are text, as in `0 kg` written without quotation marks.
        tokens = [("literal", text) if kind == "noon" else (kind, text) for kind, text in tokens]
    return _Section(tuple(tokens), condition)


def _bracket_tokens(text: str) -> list[Token]:
    currency = _CURRENCY.match(text)
    if currency:
        return [("literal", currency[1])]
    # Colours, conditions and scripts of digits are left out.
    return [("elapsed", text.lower())] if _ELAPSED.fullmatch(text) else []


def _as_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _holds(condition: tuple[str, float], value: float) -> bool:
    mark, limit = condition
    return {
        "<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit, "=": value == limit,
        "<>": value != limit,
    }[mark]  # fmt: skip


def _shown_number(section: _Section, number: float) -> str:
    tokens = section.tokens
    if not section.has("digit"):
        fill = {"general": general(number), "@": general(number), "%": "%"}
        return "".join(text if kind == "literal" else fill.get(kind, "") for kind, text in tokens)
    if section.has("/"):
        return _shown_fraction(tokens, number)
    scaled = Decimal(f"{number:.15g}") * 100 ** sum(kind == "%" for kind, _ in tokens)
    first, last = _digit_range(tokens)
    scaled /= 1000 ** _trailing_commas(tokens, last)
    if section.has("exponent"):
        return _shown_exponent(tokens, scaled)
    point = next((index for index, (kind, _) in enumerate(tokens) if kind == "."), len(tokens))
    decimals = sum(kind == "digit" for kind, _ in tokens[point:])
    digits = _rounded(scaled, decimals)
    whole, _, fraction = digits.partition(".")
    is_grouped = any(kind == "," for kind, _ in tokens[first : min(last, point)])
    left = _filled_left(tokens[:point], whole.lstrip("0"), is_grouped=is_grouped)
    return left + _filled_right(tokens[point:], fraction)


def _digit_range(tokens: Sequence[Token]) -> tuple[int, int]:
    positions = [index for index, (kind, _) in enumerate(tokens) if kind == "digit"]
    return positions[0], positions[-1]


def _trailing_commas(tokens: Sequence[Token], last: int) -> int:
    """Return the number of commas after the last digit before the decimal point, each of which divides by 1000."""
    point = next((index for index, (kind, _) in enumerate(tokens) if kind == "."), None)
    count = 0
    for start in {last, *([max(0, point - 1 - _commas_before(tokens, point))] if point else [])}:
        for kind, _ in tokens[start + 1 :]:
            if kind != ",":
                break
            count += 1
    return min(count, 10)


def _commas_before(tokens: Sequence[Token], point: int) -> int:
    count = 0
    while point - 1 - count >= 0 and tokens[point - 1 - count][0] == ",":
        count += 1
    return count


def _rounded(number: Decimal, decimals: int) -> str:
    """Return the number with so many decimals, rounded half up as Excel does."""
    try:
        return f"{number.quantize(Decimal(1).scaleb(-min(decimals, 20)), ROUND_HALF_UP):f}"
    except InvalidOperation:
        return f"{number:f}"


def _filled_left(tokens: Sequence[Token], digits: str, *, is_grouped: bool) -> str:
    """Return the part before the decimal point: placeholders take digits from the right, the first one all the rest."""
    places = sum(kind == "digit" for kind, _ in tokens)
    if not places:
        return "".join(_literal(*token) for token in tokens) + digits
    out: list[str] = []
    used = 0
    for kind, text in reversed(tokens):
        if kind == "digit":
            places -= 1
            rest = digits[: max(0, len(digits) - used)]
            taken = rest if not places else rest[-1:]
            taken = taken or {"0": "0", "?": " "}.get(text, "")
            for digit in reversed(taken):
                if is_grouped and used and used % 3 == 0 and digit != " ":
                    out.append(",")
                out.append(digit)
                used += 1
        else:
            out.append(_literal(kind, text))
    return "".join(reversed(out))


def _filled_right(tokens: Sequence[Token], digits: str) -> str:
    """Return the decimal point and what follows; optional places at the end without digits are left out."""
    needed = len(digits.rstrip("0"))
    out: list[str] = []
    position = 0
    for kind, text in tokens:
        if kind == "digit":
            digit = digits[position : position + 1] or "0"
            position += 1
            out.append(digit if text == "0" or position <= needed else "" if text == "#" else " ")
        else:
            out.append("." if kind == "." else _literal(kind, text))
    return "".join(out)


def _literal(kind: str, text: str) -> str:
    # A comma is the mark of groups or of thousands here; letters of dates occur only by mistake.
    return text if kind in ("literal", "date", "%") else ""


def _shown_exponent(tokens: Sequence[Token], number: Decimal) -> str:
    mark = next(index for index, (kind, _) in enumerate(tokens) if kind == "exponent")
    left, right = tokens[:mark], tokens[mark + 1 :]
    point = next((index for index, (kind, _) in enumerate(left) if kind == "."), len(left))
    whole = max(1, sum(kind == "digit" for kind, _ in left[:point]))
    exponent = number.adjusted() if number else 0
    exponent -= exponent % whole if whole > 1 else 0
    decimals = sum(kind == "digit" for kind, _ in left[point:])
    mantissa = _rounded(number.scaleb(-exponent), decimals)
    if len(mantissa.partition(".")[0].lstrip("0")) > whole:
        exponent += whole
        mantissa = _rounded(number.scaleb(-exponent), decimals)
    front, _, fraction = mantissa.partition(".")
    shown = _filled_left(left[:point], front.lstrip("0"), is_grouped=False) + _filled_right(left[point:], fraction)
    sign = "-" if exponent < 0 else "+" if tokens[mark][1].endswith("+") else ""
    width = sum(kind == "digit" for kind, _ in right)
    after = "".join(text for kind, text in right if kind == "literal")
    return f"{shown}E{sign}{str(abs(exponent)).zfill(width)}{after}"


def _shown_fraction(tokens: Sequence[Token], number: float) -> str:
    slash = next(index for index, (kind, _) in enumerate(tokens) if kind == "/")
    before = [index for index, (kind, _) in enumerate(tokens[:slash]) if kind == "digit"]
    after = "".join(text for kind, text in tokens[slash + 1 :] if kind in ("digit", "literal")).strip()
    is_fixed = after[:1].isdecimal() and after[:1] != "0"
    digits = min(sum(kind == "digit" for kind, _ in tokens[slash + 1 :]) or 1, _MAX_DENOMINATOR_DIGITS)
    has_whole = any(later > index + 1 for index, later in zip(before, before[1:], strict=False))
    whole = int(number) if has_whole else 0
    rest = Fraction(f"{number:.15g}") - whole
    if is_fixed:
        base = int(re.match(r"\d+", after)[0])  # type: ignore[index]  # it begins with a digit
        numerator, denominator = round(rest * base), base
    else:
        near = rest.limit_denominator(10**digits - 1)
        numerator, denominator = near.numerator, near.denominator
    if has_whole and numerator == denominator:
        whole, numerator = whole + 1, 0
    if has_whole and not numerator:
        return str(whole)
    fraction = f"{numerator}/{denominator}"
    literals = "".join(text for kind, text in tokens[: before[0] if before else slash] if kind == "literal")
    return literals + (f"{whole} {fraction}" if whole else fraction) + _after_fraction(tokens[slash + 1 :])


def _after_fraction(tokens: Sequence[Token]) -> str:
    last = max((index for index, (kind, _) in enumerate(tokens) if kind == "digit"), default=-1)
    texts = "".join(text for kind, text in tokens[last + 1 :] if kind == "literal")
    return "" if texts.strip().isdecimal() else texts


_GENERAL_SECTIONS = number_format("General").sections
