"""Decodes bytes to text: byte order marks first, then UTF-8, then a guess from the content.

Ours around chardet, since charset-normalizer decodes 9 of the 42 texts in the tests wrongly, and neither of them knows
text that is nearly UTF-8, or in two charsets.
"""

from __future__ import annotations

import codecs
import contextlib
import re

from ingest.clean_text import clean_text

#: UTF-32 comes first, because its little-endian mark begins with the mark of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: The escape sequences around Japanese text in ISO-2022-JP, in which all bytes are ASCII.
_ISO_2022_JP_ESCAPES = re.compile(rb"\x1b\$[@B][^\x1b\n]*\x1b\([BJ]")
_MARKS = tuple(mark for mark, _ in _BYTE_ORDER_MARKS)
_DECLARED_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([A-Za-z0-9._:-]+)""")
_DECLARED_WITHIN_BYTES = 1024
#: Enough for a guess; the detector's run time grows with its input.
_SAMPLE_BYTES = 64 * 1024
#: The codec error handler for stray bytes in text that is otherwise UTF-8.
_LONE_BYTES = "lone-bytes"
_FIRST_LATIN_LETTER = 0xA0
#: The charset is guessed from a sample; the rest of the file may contain characters that only the superset has.
_SUPERSETS = {
    "iso8859-1": "cp1252",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "shift_jis_2004": "cp932",
    "tis-620": "cp874",
}
_NON_ASCII = re.compile(rb"[\x80-\xff]+")
#: This few non-ASCII bytes say little about the charset.
_FEW_BYTES = 5
#: Common letters and signs of Western Europe, without those whose bytes are other letters in Czech, Turkish etc.
_WESTERN = frozenset(
    character.encode("cp1252") for character in "ÄÖÜäöüßÀÂÇÈÉÊàâçèéêëîïôùûáíóúñÑÅÆØåæø€§©®°²³µ½¼·•–—‘’“”„…«»¿¡\xa0"
)
#: The smallest share of zero bytes in UTF-16, because text in any script has a space, digit or line end now and then.
_MIN_ZERO_SHARE = 0.005
#: Characters of the scripts in use. Binary numbers decoded as UTF-16 have many others.
_COMMON_CHARACTERS = re.compile(
    "[\t\n\r\x20-\x7e\xa0-\u05ff\u0600-\u06ff\u0900-\u0eff\u10a0-\u11ff\u1e00-\u206f\u20a0-\u22ff\u2500-\u25ff"
    "\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff00-\uffef\U0001f000-\U0001faff]"
)
_PLAIN_ASCII = re.compile(rb"[\0\t\n\r\x20-\x7e]*")
_CONTROL = re.compile(rb"[\x01-\x06\x0e-\x1a\x1c-\x1f]")
_ZEROS = re.compile(rb"\0+")
#: Control characters that text does not have.
_NO_TEXT = bytes(code for code in range(1, 32) if code not in (7, 8, 9, 10, 12, 13, 27))
_MIN_TEXT_BYTES = 16


def bom_charset(data: bytes) -> str | None:
    """Return the charset that the byte order mark names, or None if there is no mark."""
    if not data.startswith(_MARKS):
        return None
    return next(charset for mark, charset in _BYTE_ORDER_MARKS if data.startswith(mark))


def decode(data: bytes) -> str:
    """Decode bytes to text with `\\n` line ends and without control characters. This never fails."""
    return clean_text(_decode(data))


def decode_markup(data: bytes) -> str:
    """Decode HTML or XML. The charset that it declares is used if the bytes are not UTF-8 and are valid in it."""
    declared = _DECLARED_CHARSET.search(data[:_DECLARED_WITHIN_BYTES])
    return clean_text(_decode(data, declared[1].decode("ascii") if declared else None))


def _decode(data: bytes, declared: str | None = None) -> str:
    appended = _appended_utf16_offset(data)
    if appended:
        return _decode(data[:appended]) + data[appended:].decode("utf-16-le", errors="replace")
    # These must be checked before UTF-8, because zeros and escapes are valid UTF-8 too.
    other = bom_charset(data) or _utf16_without_bom(data)
    if not other and b"\x1b$" in data and data.isascii() and _ISO_2022_JP_ESCAPES.search(data):
        other = "iso2022_jp"
    if other:
        return data.decode(other, errors="replace")
    for charset in ("utf-8", declared):
        # A page may declare a codec that is not a charset: `undefined` raises a bare UnicodeError, a ValueError.
        with contextlib.suppress(ValueError, LookupError):
            if charset is not None:
                return data.decode(charset)
    if _is_nearly_utf8(data):
        return data.decode("utf-8", errors=_LONE_BYTES)
    return data.decode(_guess_charset(data), errors="replace")


def _is_nearly_utf8(data: bytes) -> bool:
    """Return whether at least as many of the non-ASCII characters are valid UTF-8 as are invalid.

    In text in another charset, few bytes are valid UTF-8 by chance. A file that is nearly UTF-8 was cut inside a
    character, or lines in another charset were appended to it.
    """
    good = data.decode("utf-8", errors="replace")
    bad = good.count("\ufffd")
    others = len(good) - len(good.encode("ascii", errors="ignore"))
    return others - bad >= bad


def _lone_byte(error: UnicodeError) -> tuple[str, int]:
    """Decode a stray byte before an ASCII character as Windows-1252, as old programs write it; otherwise `\\ufffd`."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    data, start = error.object, error.start
    is_lone = error.end == start + 1 < len(data) and data[start] >= _FIRST_LATIN_LETTER and data[start + 1] < 0x80
    return (bytes([data[start]]).decode("cp1252") if is_lone else "\ufffd"), error.end


codecs.register_error(_LONE_BYTES, _lone_byte)


def _guess_charset(data: bytes) -> str:
    sample = _sample_around_non_ascii(data)
    stretches = _NON_ASCII.findall(sample)
    if all(stretch in _WESTERN for stretch in stretches):
        return "cp1252"
    from chardet import EncodingEra, detect

    # A few bytes fit almost any charset, so rare charsets are considered only if there are more bytes.
    few = sum(map(len, stretches)) <= _FEW_BYTES
    eras = EncodingEra.MODERN_WEB | EncodingEra.LEGACY_ISO if few else EncodingEra.ALL & ~EncodingEra.MAINFRAME
    found = detect(sample, compat_names=False, prefer_superset=False, encoding_era=eras)["encoding"] or "cp1252"
    return _SUPERSETS.get(found, found)


def _utf16_without_bom(data: bytes) -> str | None:
    """Return the UTF-16 codec of bytes without a byte order mark, or None if they are not UTF-16.

    Spaces, digits and line ends have their zero byte on the same side.
    """
    sample = data[: _SAMPLE_BYTES - _SAMPLE_BYTES % 2]
    if b"\0" not in sample:
        return None
    first, second = sample[0::2].count(0), sample[1::2].count(0)
    if max(first, second) < _MIN_ZERO_SHARE * len(sample) or min(first, second) > 0.5 * max(first, second):
        return None
    # In Latin text every second byte is zero; text in other scripts has bytes that are not printable ASCII.
    if 4 * (first + second) < len(sample) and _PLAIN_ASCII.fullmatch(sample):
        return None
    charset = "utf-16-le" if second > first else "utf-16-be"
    text = sample[: len(sample) - len(sample) % 2].decode(charset, errors="replace")
    return charset if len(_COMMON_CHARACTERS.findall(text)) > 0.95 * len(text) else None


def _appended_utf16_offset(data: bytes) -> int:
    """Return the offset of UTF-16 text that PowerShell appended to a UTF-8 file, or 0 if there is none."""
    start = data.find(b"\0") - 1
    if start < _MIN_TEXT_BYTES or _CONTROL.search(data, 0, start):
        return 0
    try:
        data[:start].decode("utf-8")
    except UnicodeDecodeError:
        return 0
    return start if _utf16_without_bom(data[start:]) == "utf-16-le" else 0


def utf16_as_utf8(data: bytes) -> bytes:
    """Return text in UTF-16 or UTF-32 as UTF-8, and anything else unchanged."""
    is_wide = (bom_charset(data) or "utf-8-sig") != "utf-8-sig" or _utf16_without_bom(data)
    return decode(data).encode("utf-8") if is_wide else data


def is_text(data: bytes) -> bool:
    """Return whether the bytes, which have no known format, are text in some charset."""
    if bom_charset(data) or _utf16_without_bom(data) or _appended_utf16_offset(data):
        return True
    sample = data[:_SAMPLE_BYTES]
    control = len(sample) - len(sample.translate(None, _NO_TEXT))
    # Stray control characters are tolerated, and so is a run of zeros, which a crash can leave in a log.
    return control <= len(sample) // 100 and (0 not in sample or _is_text_with_zero_runs(sample))


def _is_text_with_zero_runs(sample: bytes) -> bool:
    stretches = _ZEROS.split(sample)
    if len(stretches) - 1 > 1 + len(sample) // 1000:
        return False
    rest = b"".join(stretches)
    return len(rest) >= _MIN_TEXT_BYTES and (rest.isascii() or _is_nearly_utf8(rest))


def _sample_around_non_ascii(data: bytes) -> bytes:
    """Return a sample with non-ASCII characters, if there are any; the head of the file may have none."""
    try:
        data.decode("ascii")
    except UnicodeDecodeError as error:
        begin = max(0, error.start - 1024)
        return data[begin : begin + _SAMPLE_BYTES]
    return data[:_SAMPLE_BYTES]
