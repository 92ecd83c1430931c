"""Text in the pictures within a document, read by OCR where it is installed. Payloads themselves never become text."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from collections.abc import Callable
from functools import cached_property

from core.errors import DocumentRejected
from ingest.parsers import ocr
from ingest.parsers.source import ParserOptions

#: Smaller pictures are icons, lines and logos.
_MIN_WIDTH, _MIN_HEIGHT, _MIN_PIXELS = 200, 50, 30_000
_MAX_BYTES = 50_000_000
#: Pictures of one document that are read. Further ones are counted as not read.
_MAX_PICTURES = 100
#: After so many pictures without text in a row, a document is taken for an album of photographs.
_MAX_WITHOUT_TEXT = 20
_DATA_URI = re.compile(r"data:image/(?:png|jpe?g|gif|webp|bmp|tiff)(?:;[\w=.-]+)*;base64,", re.I)
_WORD = re.compile(r"\w{2,}")
_MIN_WORDS = 2
#: Below this share of letters and digits, what OCR reads is the structure of a photograph.
_MIN_LETTER_SHARE = 0.65


class Pictures:
    """Reads the pictures of one document, each of them once."""

    def __init__(self, options: ParserOptions, find: Callable[[str], bytes | None] | None = None) -> None:
        """Take a function that returns the picture that a page names, or None if the document does not have it."""
        self._options = options
        self._find = find
        self._seen: set[bytes] = set()
        self._without_text = 0
        self._read = self._not_read = 0

    @cached_property
    def are_read(self) -> bool:
        """Whether OCR is installed."""
        return ocr.find_tesseract() is not None

    @property
    def properties(self) -> dict[str, str]:
        """The properties that say how many pictures had text, and how many were too many to be read."""
        counts = {"pictures_by_ocr": self._read, "pictures_not_read": self._not_read}
        return {name: str(count) for name, count in counts.items() if count}

    def text_of_uri(self, uri: str) -> str:
        """Return the text in the picture of a data URI, or in one that `find` knows, or an empty string."""
        found = _DATA_URI.match(uri)
        if (found is None and self._find is None) or not self.are_read:
            return ""
        if found is None:
            data = self._find(uri) if self._find is not None else None
            return self.text_of(data) if data else ""
        try:
            return self.text_of(base64.b64decode(uri[found.end() :] + "=="))
        except binascii.Error:
            return ""

    def line_of_hex(self, digits: str) -> str:
        """Return a line with the text in a picture that is written in hex, or an empty string if it has none."""
        try:
            return self.line_of(bytes.fromhex(digits))
        except ValueError:
            return ""

    def line_of(self, data: bytes) -> str:
        """Return a line with the text in a picture, or an empty string if it has none."""
        words = self.text_of(data)
        return f"Text in the picture: {words}" if words else ""

    def text_of(self, data: bytes) -> str:
        """Return the text in a picture on one line, or an empty string if there is none or it was read before."""
        if not self.are_read or len(data) > _MAX_BYTES:
            return ""
        digest = hashlib.sha256(data).digest()
        if digest in self._seen:
            return ""
        self._seen.add(digest)
        if self._read == _MAX_PICTURES or self._without_text == _MAX_WITHOUT_TEXT:
            self._not_read += 1
            return ""
        text = self._ocr(data)
        if text is None:
            return ""
        self._without_text = 0 if text else self._without_text + 1
        self._read += bool(text)
        return text

    def _ocr(self, data: bytes) -> str | None:
        """Return the text in a picture, empty if there is none, or None if it is too small or cannot be read."""
        from PIL import Image

        try:
            with Image.open(io.BytesIO(data)) as picture:
                pixels = picture.width * picture.height
                is_large = picture.width >= _MIN_WIDTH and picture.height >= _MIN_HEIGHT and pixels >= _MIN_PIXELS
                if not is_large or pixels > ocr.MAX_PIXELS:
                    return None
                # A picture is shown upright; photographs would otherwise be read four times.
                words = ocr.read_page(picture, self._options, is_upright=True)
        except ocr.NoWordsFound:
            return ""
        except (OSError, ValueError, SyntaxError, DocumentRejected):
            # The document is read without a picture that is broken, of an unknown format, or too slow.
            self._not_read += 1
            return None
        return " ".join(words.split()) if _is_text(words) else ""


def _is_text(words: str) -> bool:
    """Return whether OCR read words, rather than the structure of a photograph."""
    signs = "".join(words.split())
    letters = sum(map(str.isalnum, signs))
    return len(_WORD.findall(words)) >= _MIN_WORDS and letters >= _MIN_LETTER_SHARE * len(signs)
