"""Joins words and sentences over the ends of lines that a program or a typewriter has broken."""

from __future__ import annotations

import re
from collections.abc import Container
from unicodedata import east_asian_width

#: Han, Hiragana, Katakana, Bopomofo and their punctuation: no space is between their lines. Korean has spaces.
_CJK = (
    "\u2e80-\u2fdf\u3001-\u303f\u3040-\u312f\u31a0-\u31bf\u31f0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff9f"
    "\U00020000-\U0003ffff"
)
_CJK_LINE_END = re.compile(f"(?<=[{_CJK}])[ \\t]*\\n[ \\t]*(?=[{_CJK}])")
_CJK_START, _CJK_END = re.compile(f"[ \\t]*[{_CJK}]"), re.compile(f"[{_CJK}][ \\t]*\\Z")
#: A line that ends a sentence or a clause may be a line of its own.
_ENDS = ("。", "！", "？", "：", "；", "」", "）")
#: A line that is shorter than this share of the longest line is not full, so its end is the author's.
_FULL_LINE_SHARE = 0.8
_MIN_FULL_COLUMNS = 20

#: The look-behind is second, because a pattern that begins with characters is searched for much faster.
_HYPHEN = re.compile(r"[-\u2010](?<=\w[-\u2010])[ \t]*\n[ \t]*(?=\w)")
#: The part of a word before its hyphen and the part after it, with the signs after the word.
_LEFT = re.compile(r"\w+(?:['\u2019\u2010\u2011-]\w+)*\Z")
_RIGHT = re.compile(r"(\w+(?:[-\u2010\u2011]\w+)*)([^\w\s]{0,8})[ \t]?")
_MAX_WORD_CHARACTERS = 60
_WORDS = re.compile(r"\w+(?:[-\u2010\u2011]\w+)*")
#: First parts that are rarely parts of a word without a hyphen, and whole words that follow a hyphen.
_FIRST_NAMES = (
    "self non well ill half cross ex quasi low long short double triple single two three four five six seven eight "
    "nine ten user open large small"
)
_SECOND_NAMES = "of the and to in based free level side sized shaped proof resistant specific independent driven made"
_HYPHENATED_FIRST = frozenset(_FIRST_NAMES.split())
_HYPHENATED_SECOND = frozenset(_SECOND_NAMES.split())


def join_words(text: str) -> str:
    """Return the text on one line with single spaces, and with none between lines of Chinese or Japanese."""
    if "\n" in text and not text.isascii():
        text = _CJK_LINE_END.sub("", text)
    return " ".join(text.split())


def unwrap(text: str) -> str:
    """Return a text with hard line ends with the words joined that are divided at them. Line ends between words stay.

    A line of Chinese or Japanese that is as long as its neighbours is joined to the next. Of a word divided at a hyphen
    (see `keeps_hyphen`), the second part moves up to the first.
    """
    if "\n" not in text:
        return text
    if not text.isascii() and _CJK_LINE_END.search(text):
        text = _join_cjk_lines(text)
    hyphens = list(_HYPHEN.finditer(text))
    if not hyphens:
        return text
    words = frozenset(map(str.lower, _WORDS.findall(text)))
    pieces: list[str] = []
    end = 0
    for hyphen in hyphens:
        left = _LEFT.search(text[max(end, hyphen.start() - _MAX_WORD_CHARACTERS) : hyphen.start()])
        right = _RIGHT.match(text, hyphen.end(), hyphen.end() + _MAX_WORD_CHARACTERS)
        if left is None or right is None:
            continue
        # The rest of the line stays in its line.
        mark = "-" if keeps_hyphen(left[0], right[1], words) else ""
        end, before = right.end(), end
        line_end = "" if text[end : end + 1] in ("", "\n") else "\n"
        pieces += [text[before : hyphen.start()], mark, right[1], right[2], line_end]
    return "".join([*pieces, text[end:]])


def keeps_hyphen(left: str, right: str, words: Container[str]) -> bool:
    """Return whether a hyphen at the end of a line belongs to the word, rather than to its division.

    Args:
        left: The part before the hyphen.
        right: The part on the next line.
        words: The words of the document in lower case, which decide first: one that stands within a line is right.
    """
    if not left[-1:].isalpha() or not right[:1].isalpha():
        return True
    if f"{left}-{right}".lower() in words:
        return True
    if f"{left}{right}".lower() in words:
        return False
    # X-ray, the Baden-Baden of a name, state-of-the-art, AB-C, self-adjusting.
    if len(left) == 1 or right[0].isupper() or left.isupper() or "-" in left or "-" in right:
        return True
    return left.lower() in _HYPHENATED_FIRST or right.lower() in _HYPHENATED_SECOND


def _join_cjk_lines(text: str) -> str:
    lines = text.split("\n")
    columns = [_columns(line) for line in lines]
    joined = [lines[0]]
    for number, line in enumerate(lines[1:], start=1):
        before = lines[number - 1]
        neighbours = max(columns[max(number - 4, 0) : number + 4])
        is_full = columns[number - 1] >= max(_FULL_LINE_SHARE * neighbours, _MIN_FULL_COLUMNS)
        if is_full and _CJK_START.match(line) and _CJK_END.search(before) and not before.rstrip().endswith(_ENDS):
            joined[-1] += line.lstrip()
        else:
            joined.append(line)
    return "\n".join(joined)


def _columns(line: str) -> int:
    return len(line) if line.isascii() else sum(1 + (east_asian_width(each) in "WF") for each in line)
