"""The words of a PDF page with their places, read from PDFium by as few calls as possible.

PDFium has no call that returns the boxes of many characters at once. Only the first and the last character of each word
are therefore asked for, through function prototypes that convert their arguments as little as ctypes allows.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2
from pypdfium2 import raw

from ingest.parsers.pdf.boxes import Box, Line

Boxes = npt.NDArray[np.float32]

#: PDFium's marks for a hyphen at the end of a line, after which it omits the line end.
HYPHEN_MARKS = "\ufffe\x02"
_LARGEST = 0xFFFF
_IS_SPACE = np.array([chr(code).isspace() or code == 0 for code in range(_LARGEST + 1)])
_IS_MARK = np.zeros(_LARGEST + 1, np.bool_)
_IS_MARK[[ord(mark) for mark in HYPHEN_MARKS]] = True
#: The columns of a box, as in `FS_RECTF`.
LEFT, TOP, RIGHT, BOTTOM = range(4)
_BOX_BYTES = 16
_NEW_LINE = 10

_Address, _Int = ctypes.c_void_p, ctypes.c_int


def direct(function: Any, result: Any, *arguments: Any) -> Any:
    """Return a PDFium function with a prototype of plain integers, several times faster than the generated one."""
    return ctypes.PYFUNCTYPE(result, *arguments)(address_of(function))


def address_of(pointer: Any) -> int:
    return ctypes.cast(pointer, _Address).value or 0


_loose_box = direct(raw.FPDFText_GetLooseCharBox, _Int, _Address, _Int, _Address)
_count_rectangles = direct(raw.FPDFText_CountRects, _Int, _Address, _Int, _Int)
_rectangle = direct(raw.FPDFText_GetRect, _Int, _Address, _Int, _Address, _Address, _Address, _Address)
_angle = direct(raw.FPDFText_GetCharAngle, ctypes.c_float, _Address, _Int)
_text_object = direct(raw.FPDFText_GetTextObject, _Address, _Address, _Int)
_index_of_character = direct(raw.FPDFText_GetCharIndexFromTextIndex, _Int, _Address, _Int)


#: A line of the text, with the hyphen at its end.
_LINE = re.compile(rf"[^\s{HYPHEN_MARKS}][^\r\n{HYPHEN_MARKS}]*[{HYPHEN_MARKS}]?")
_MAX_RUNS_PER_LINE = 3
#: Plain text has no wider gaps than this, no larger steps back, in heights of the text, and no lines that are by a
#: larger factor wider than others of as many characters.
_MIN_GAP, _MAX_STEP_BACK, _MAX_STRETCH = 0.7, 0.5, 1.1
_LONG_LINE = 20


class Glyphs:
    """The text of a page and the boxes of its words in the page's own space, in points, y upwards.

    It must be closed before its page. `first` and `last` are the boxes of the words' first and last characters, with
    the columns `LEFT`, `TOP`, `RIGHT` and `BOTTOM`; they are as high as the font is.
    """

    def __init__(self, page: pypdfium2.PdfPage) -> None:
        """Read the text of a page.

        Raises:
            pypdfium2.PdfiumError: If the text of the page cannot be read.
        """
        self._page = page.get_textpage()
        self._handle = address_of(self._page.raw)
        self.text = _text(self._page)
        self._is_direct = len(self.text) == self._page.count_chars()
        self.count = 0
        self._box = (ctypes.c_float * 4)()
        self._place = ctypes.addressof(self._box)

    def read_words(self) -> None:
        """Read the words and their boxes."""
        codes = np.minimum(np.frombuffer(self.text.encode("utf-32-le", "replace"), np.uint32), _LARGEST)
        is_mark = _IS_MARK[codes]
        inside = np.concatenate([[False], ~_IS_SPACE[codes], [False]])
        before = np.concatenate([[False], is_mark, [False]])
        #: The places of the words in `text`; a mark for a hyphen ends a word.
        self.starts = np.flatnonzero(inside[1:-1] & (~inside[:-2] | before[:-2]))
        self.ends = np.flatnonzero(inside[1:-1] & (~inside[2:] | is_mark)) + 1
        self.count = len(self.starts)
        #: The number of the line, in PDFium's order, that each word begins on.
        self.lines = np.cumsum(is_mark | (codes == _NEW_LINE))[self.starts] - is_mark[self.starts]
        self.first = np.zeros((self.count, 4), np.float32)
        self.last = np.zeros((self.count, 4), np.float32)
        self._read_boxes()

    def plain_lines(self) -> list[Line] | None:
        """Return the lines of a page of plain running text without asking for words, or None if it may be none.

        PDFium has a rectangle for each run of characters that the file draws at once. If each line has few of them,
        near each other, and is as wide as its characters make it, there is no wide gap in it. Digits that are drawn
        apart may be raised.
        """
        if not self._is_direct:
            return None
        lines = [match.span() for match in _LINE.finditer(self.text)]
        count = _count_rectangles(self._handle, 0, -1)
        if not lines or not len(lines) <= count <= _MAX_RUNS_PER_LINE * len(lines):
            return None
        runs = iter(self._runs(count))
        run = next(runs, None)
        found: list[Line] = []
        for start, end in lines:
            line = self._line(start, end)
            while run is not None and run.bottom > line.top and run.top < line.bottom:
                gap = run.left - line.right
                if line.right > line.left and any(map(str.isdigit, line.text)):
                    return None
                if not -_MAX_STEP_BACK < gap / max(line.height, 0.01) < _MIN_GAP and line.right > line.left:
                    return None
                line.right = run.right
                run = next(runs, None)
            found.append(line)
        return found if run is None and _are_even(found) else None

    def _line(self, start: int, end: int) -> Line:
        """Return a line whose right end is not yet known."""
        _loose_box(self._handle, start, self._place)
        left, top, _, bottom = self._box
        return Line(left, -top, left, -bottom, self.text[start:end].strip())

    def _runs(self, count: int) -> Iterator[Box]:
        numbers = (ctypes.c_double * 4)()
        base = ctypes.addressof(numbers)
        left, top, right, bottom = (base + 8 * index for index in range(4))
        for index in range(count):
            _rectangle(self._handle, index, left, top, right, bottom)
            yield Box(numbers[0], -numbers[1], numbers[2], -numbers[3])

    def close(self) -> None:
        """Release the text of the page."""
        self._page.close()

    def angle(self, word: int) -> float:
        """Return the angle of a word's first character, in radians, counterclockwise."""
        return float(_angle(self._handle, self._index(int(self.starts[word]))))

    def text_object(self, word: int) -> int:
        """Return the address of the page object that a word's first character belongs to, or 0."""
        return _text_object(self._handle, self._index(int(self.starts[word]))) or 0

    def text_object_at(self, position: int) -> int:
        """Return the address of the page object of the character at a position of the text, or 0."""
        return _text_object(self._handle, self._index(position)) or 0

    def loose_boxes(self, start: int, end: int) -> Boxes:
        """Return the boxes of the characters `text[start:end]`, each as high as the font is."""
        boxes = np.zeros((end - start, 4), np.float32)
        address = boxes.ctypes.data
        for position in range(start, end):
            _loose_box(self._handle, self._index(position), address)
            address += _BOX_BYTES
        return boxes

    def _index(self, position: int) -> int:
        return position if self._is_direct else int(_index_of_character(self._handle, position))

    def _read_boxes(self) -> None:
        handle, read = self._handle, _loose_box
        first, last = self.first.ctypes.data, self.last.ctypes.data
        starts, ends = self.starts.tolist(), (self.ends - 1).tolist()
        if not self._is_direct:
            starts, ends = [self._index(start) for start in starts], [self._index(end) for end in ends]
        for start, end in zip(starts, ends, strict=True):
            read(handle, start, first)
            read(handle, end, last)
            first += _BOX_BYTES
            last += _BOX_BYTES


def _are_even(lines: list[Line]) -> bool:
    """Return whether all lines are as wide as their characters make them, and upright."""
    widths = sorted(
        line.width / len(line.text) / max(line.height, 0.01) for line in lines if len(line.text) > _LONG_LINE
    )
    if not widths:
        return False
    usual = widths[len(widths) // 2]
    return all(
        line.height > 0
        and 0 < line.width <= (_MAX_STRETCH * usual * len(line.text) + _MIN_GAP) * line.height
        and (line.width > line.height or len(line.text) <= 2)  # noqa: PLR2004 (narrow numbers)
        for line in lines
    )


def _text(page: pypdfium2.PdfTextPage) -> str:
    """Return the text of a page, with one character for each of PDFium's where that is possible."""
    return str(page.get_text_range())
