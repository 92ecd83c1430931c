"""From bytes to text: byte order marks first, then UTF-8, then a guess from the content."""

from __future__ import annotations

import codecs
import contextlib
import re

from ingest.parsed_document import readable

#: UTF-32 comes first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Where the letters of Japanese begin and end in e-mails and files of Unix: all bytes are ASCII.
_JAPANESE_SHIFTS = re.compile(rb"\x1b\$[@B][^\x1b\n]*\x1b\([BJ]")
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([A-Za-z0-9._:-]+)""")
_DECLARED_WITHIN_BYTES = 1024
#: Enough for a guess; the detector's time grows with its input.
_SAMPLE_BYTES = 64 * 1024
#: The name of what is done with bytes that are no UTF-8 in a text that is.
_LONE_BYTES = "lone-bytes"
_FIRST_LATIN_LETTER = 0xA0
#: The rest of a file may have characters that only the larger one has.
_SUPERSETS = {
    "iso8859-1": "cp1252",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "shift_jis_2004": "cp932",
    "tis-620": "cp874",
}
_ODD = re.compile(rb"[\x80-\xff]+")
#: So many bytes that are no ASCII say little of the charset.
_FEW = 5
#: Usual letters and signs of Western Europe. Left out are those that stand for others in Czech, Turkish and the like.
_WESTERN = frozenset(
    character.encode("cp1252") for character in "ÄÖÜäöüßÀÂÇÈÉÊàâçèéêëîïôùûáíóúñÑÅÆØåæø€§©®°²³µ½¼·•–—‘’“”„…«»¿¡\xa0"
)
#: In UTF-16, of all bytes: a text of any script has a space, a digit or the end of a line now and then.
_FEWEST_ZEROS = 0.005
#: Characters of the scripts in use. Numbers read as UTF-16 have many others.
_IN_TEXTS = re.compile(
    "[\t\n\r\x20-\x7e\xa0-\u05ff\u0600-\u06ff\u0900-\u0eff\u10a0-\u11ff\u1e00-\u206f\u20a0-\u22ff\u2500-\u25ff"
    "\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff00-\uffef\U0001f000-\U0001faff]"
)
_PLAIN_ASCII = re.compile(rb"[\0\t\n\r\x20-\x7e]*")
_CONTROL = re.compile(rb"[\x01-\x06\x0e-\x1a\x1c-\x1f]")
_ZEROS = re.compile(rb"\0+")
_SHORTEST_WITH_GAPS = 16


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
    appended = _appended_utf16(data)
    if appended:
        return _decode(data[:appended]) + data[appended:].decode("utf-16-le", errors="replace")
    # These pass for UTF-8: zeros and escapes are characters of it, too.
    other = marked_charset(data) or _unmarked_utf16(data)
    if not other and data.isascii() and _JAPANESE_SHIFTS.search(data):
        other = "iso2022_jp"
    if other:
        return data.decode(other, errors="replace")
    for charset in ("utf-8", declared):
        # A page may name a codec that is no charset: `undefined` raises the bare UnicodeError.
        with contextlib.suppress(ValueError, LookupError):
            if charset is not None:
                return data.decode(charset)
    if _is_nearly_utf8(data):
        return data.decode("utf-8", errors=_LONE_BYTES)
    return data.decode(_guess(data), errors="replace")


def _is_nearly_utf8(data: bytes) -> bool:
    """Whether more of its characters outside ASCII are right UTF-8 than wrong: by chance, in another charset, few are.

    Such a file was cut within a character, or lines in another charset were put into it.
    """
    good = data.decode("utf-8", errors="replace")
    bad = good.count("\ufffd")
    others = len(good) - len(good.encode("ascii", errors="ignore"))
    return others - bad >= bad


def _lone_byte(error: UnicodeError) -> tuple[str, int]:
    """A letter of Western Europe between ASCII characters, as programs of before UTF-8 put it into a text."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    data, start = error.object, error.start
    is_lone = error.end == start + 1 < len(data) and data[start] >= _FIRST_LATIN_LETTER and data[start + 1] < 0x80
    return (bytes([data[start]]).decode("cp1252") if is_lone else "\ufffd"), error.end


codecs.register_error(_LONE_BYTES, _lone_byte)


def _guess(data: bytes) -> str:
    sample = _around_first_odd_byte(data)
    stretches = _ODD.findall(sample)
    if all(stretch in _WESTERN for stretch in stretches):
        return "cp1252"
    from chardet import EncodingEra, detect

    # A few bytes fit anything: what is rare is only looked for where there are more.
    few = sum(map(len, stretches)) <= _FEW
    eras = EncodingEra.MODERN_WEB | EncodingEra.LEGACY_ISO if few else EncodingEra.ALL & ~EncodingEra.MAINFRAME
    found = detect(sample, compat_names=False, prefer_superset=False, encoding_era=eras)["encoding"] or "cp1252"
    return _SUPERSETS.get(found, found)


def _unmarked_utf16(data: bytes) -> str | None:
    """The byte order of UTF-16 without a mark: spaces, digits and line ends have a zero byte on the same side."""
    sample = data[: _SAMPLE_BYTES - _SAMPLE_BYTES % 2]
    first, second = sample[0::2].count(0), sample[1::2].count(0)
    if max(first, second) < _FEWEST_ZEROS * len(sample) or min(first, second) > 0.5 * max(first, second):
        return None
    # Latin text has a zero in every second byte; that of other scripts has bytes that are no characters of ASCII.
    if 4 * (first + second) < len(sample) and _PLAIN_ASCII.fullmatch(sample):
        return None
    charset = "utf-16-le" if second > first else "utf-16-be"
    text = sample[: len(sample) - len(sample) % 2].decode(charset, errors="replace")
    return charset if len(_IN_TEXTS.findall(text)) > 0.95 * len(text) else None


def _appended_utf16(data: bytes) -> int:
    """Where UTF-16 begins that PowerShell has appended to a text in UTF-8; 0 if there is none."""
    start = data.find(b"\0") - 1
    if start < _SHORTEST_WITH_GAPS or _CONTROL.search(data, 0, start):
        return 0
    try:
        data[:start].decode("utf-8")
    except UnicodeDecodeError:
        return 0
    return start if _unmarked_utf16(data[start:]) == "utf-16-le" else 0


def is_text(data: bytes) -> bool:
    """Whether bytes of no known format are text in some charset."""
    if marked_charset(data) or _unmarked_utf16(data) or _appended_utf16(data):
        return True
    sample = data[:_SAMPLE_BYTES]
    control = sum(sample.count(code) for code in range(1, 32) if code not in (7, 8, 9, 10, 12, 13, 27))
    # A stray control character does no harm, and neither does a stretch of zeros, as a crash leaves it in a log.
    return control <= len(sample) // 100 and (0 not in sample or _is_text_with_gaps(sample))


def _is_text_with_gaps(sample: bytes) -> bool:
    stretches = _ZEROS.split(sample)
    if len(stretches) - 1 > 1 + len(sample) // 1000:
        return False
    rest = b"".join(stretches)
    return len(rest) >= _SHORTEST_WITH_GAPS and (rest.isascii() or _is_nearly_utf8(rest))


def _around_first_odd_byte(data: bytes) -> bytes:
    """A sample with characters outside ASCII in it: the head of the file may have none."""
    try:
        data.decode("ascii")
    except UnicodeDecodeError as error:
        begin = max(0, error.start - 1024)
        return data[begin : begin + _SAMPLE_BYTES]
    return data[:_SAMPLE_BYTES]
