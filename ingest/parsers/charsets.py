"""From bytes to text: byte order marks first, then UTF-8, then a guess from the content."""

from __future__ import annotations

import codecs
import contextlib
import re

from ingest.document import readable

#: UTF-32 comes first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Those in use before UTF-8, the most usual first.
_USUAL = (
    "cp1252", "cp1251", "cp1250", "cp932", "gb18030", "cp949", "big5", "euc_jp", "koi8_r",
    "cp1253", "cp1254", "cp1255", "cp1256", "cp1257",
)  # fmt: skip
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([A-Za-z0-9._:-]+)""")
_DECLARED_WITHIN_BYTES = 1024
#: Enough for a guess; the detector's time grows with its input.
_SAMPLE_BYTES = 64 * 1024


def marked_charset(data: bytes) -> str | None:
    """The charset that a byte order mark names."""
    return next((charset for mark, charset in _MARKS if data.startswith(mark)), None)


def decode(data: bytes) -> str:
    """The text of the bytes, with `\\n` line ends and without control characters. Never fails."""
    return readable(_decode(data))


def decode_marked_up(data: bytes) -> str:
    """The text of HTML or XML: the charset that it names is believed if the bytes are no UTF-8 and fit it."""
    declared = _DECLARED.search(data[:_DECLARED_WITHIN_BYTES])
    return readable(_decode(data, declared[1].decode("ascii") if declared else None))


def _decode(data: bytes, declared: str | None = None) -> str:
    marked = marked_charset(data)
    if marked:
        return data.decode(marked, errors="replace")
    for charset in ("utf-8", declared):
        with contextlib.suppress(UnicodeDecodeError, LookupError):
            if charset is not None:
                return data.decode(charset)
    return data.decode(_guess(data), errors="replace")


def _guess(data: bytes) -> str:
    # A file that is nearly UTF-8 (cut within a character, or with one bad byte) is UTF-8.
    good = data[:_SAMPLE_BYTES].decode("utf-8", errors="replace")
    bad = good.count("\ufffd")
    multibyte = sum(1 for character in good if character > "\x7f") - bad
    if multibyte > 4 * bad:
        return "utf-8"
    without_mark = _unmarked_utf16(data)
    if without_mark:
        return without_mark
    from charset_normalizer import from_bytes

    matches = list(from_bytes(_around_first_odd_byte(data), cp_isolation=list(_USUAL)))
    if not matches:
        return "cp1252"
    best = matches[0]
    # Short texts fit several charsets equally well; the list is then in alphabetical order, not in that of use.
    equals = (match for match in matches if (match.chaos, match.coherence) == (best.chaos, best.coherence))
    names = {name for match in equals for name in match.could_be_from_charset}
    return next(charset for charset in _USUAL if charset in names)


def _unmarked_utf16(data: bytes) -> str | None:
    """UTF-16 of Latin text has a zero in nearly every second byte."""
    sample = data[:_SAMPLE_BYTES]
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 0.7 * half and even < 0.01 * half:
        return "utf-16-le"
    if even > 0.7 * half and odd < 0.01 * half:
        return "utf-16-be"
    return None


def is_text(data: bytes) -> bool:
    """Whether bytes of no known format are text in some charset."""
    if marked_charset(data) or _unmarked_utf16(data):
        return True
    sample = data[:_SAMPLE_BYTES]
    control = sum(sample.count(code) for code in range(32) if code not in (7, 8, 9, 10, 12, 13, 27))
    # A stray control character does no harm, a zero byte means numbers.
    return sample.count(0) == 0 and control <= len(sample) // 100


def _around_first_odd_byte(data: bytes) -> bytes:
    """A sample with characters outside ASCII in it: the head of the file may have none."""
    try:
        data.decode("ascii")
    except UnicodeDecodeError as error:
        begin = max(0, error.start - 1024)
        return data[begin : begin + _SAMPLE_BYTES]
    return data[:_SAMPLE_BYTES]
