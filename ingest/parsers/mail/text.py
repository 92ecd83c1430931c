"""Decodes the bytes of an e-mail to text: transfer encodings, charsets, and lines that were wrapped for sending."""

from __future__ import annotations

import binascii
import codecs
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from ingest.clean_text import clean_text
from ingest.parsers.charsets import decode, decode_markup

#: Programs often declare the smaller charset but use its superset; browsers do the same replacement.
_SUPERSETS = {
    "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950",
}  # fmt: skip
#: Python codecs that are not charsets of text; one of them is slow on long input.
_NON_TEXT_CODECS = frozenset(("punycode", "idna", "unicode_escape", "raw_unicode_escape"))
_LONG_LINE_BYTES = 60
_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/]+(={0,2})")
#: An encoded word of a header. It also matches words with `?` or spaces in them, which are invalid but common.
_ENCODED_WORD = re.compile(r"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?]*(?:\?(?!=)[^?]*){0,4})\?=")
_QUOTES = re.compile(r">*")
#: Non-ASCII bytes as the message parser represents them, and all other surrogates, which are invalid.
_RAW_BYTE = re.compile("[\udc80-\udcff]")
_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_UU_BEGIN = re.compile(rb"^begin [0-7]{3,4} ([^\r\n]+)\r?\n", re.M)
_UU_END = re.compile(rb"^end[ \t]*(?:\r?\n|\Z)", re.M)


@dataclass(frozen=True, slots=True)
class UuFile:
    """A uuencoded file, at the bytes from `start` to `end` of a text."""

    name: str
    content: bytes
    start: int
    end: int


def decode_transfer_encoding(data: bytes, encoding: str) -> tuple[bytes, bytes]:
    """Decode a part, and return also any unencoded text below it, where mailing lists put their footers.

    Args:
        data: The encoded bytes.
        encoding: The value of the header `Content-Transfer-Encoding`; an unknown one leaves the data unchanged.
    """
    encoding = encoding.lower()
    if "quoted" in encoding:
        return quopri.decodestring(data), b""
    if "base64" in encoding:
        return _from_base64(data)
    if "uue" in encoding:
        found = next(uu_files(data), None)
        return (found.content, b"") if found else (data, b"")
    return data, b""


def decode_text(data: bytes, charset: str | None, *, is_html: bool = False) -> str:
    """Decode bytes, in the declared charset if they are valid in it. This never fails."""
    if charset and charset.lower().startswith(("utf-16", "unicode")) and b"\0" not in data:
        # A message that was saved in UTF-16 is read as UTF-8, whatever its parts declare.
        charset = "utf-8"
    if charset and charset.lower().replace("-", "_") not in _NON_TEXT_CODECS:
        # The name may belong to a codec that is not a charset; such a codec may also raise errors of its own.
        try:
            name = codecs.lookup(charset).name
            text = data.decode(_SUPERSETS.get(name, name))
        except (LookupError, ValueError):
            pass
        else:
            # A single-byte charset accepts almost any bytes. If these are valid non-ASCII UTF-8, the declared charset
            # is wrong.
            return clean_text(_as_utf8(data) or text if len(text) == len(data) else text).removeprefix("\ufeff")
    return decode_markup(data) if is_html else decode(data)


def header_text(raw: str, charset: str | None = None) -> str:
    """Decode a header to one line of text. This never fails.

    Args:
        raw: The header as the message parser returns it, with non-ASCII bytes as surrogates.
        charset: The charset of the message, used for non-ASCII bytes that are not UTF-8.
    """
    return " ".join(clean_text(_decode_encoded_words(unfold_header(raw, charset))).split())


def unfold_header(raw: str, charset: str | None = None) -> str:
    """Return a header on one line, with non-ASCII bytes decoded but encoded words unchanged; see `header_text`."""
    text = _LONE_SURROGATE.sub("", raw)
    if _RAW_BYTE.search(text):
        data = text.encode("utf-8", errors="surrogateescape")
        text = _as_utf8(data) or decode_text(data, charset)
    return text.replace("\r", "").replace("\n", "")


def _decode_encoded_words(text: str) -> str:
    parts: list[str] = []
    end = 0
    pending, pending_charset = bytearray(), ""
    for word in _ENCODED_WORD.finditer(text):
        between = text[end : word.start()]
        charset, data = word[1].lower(), _encoded_word_bytes(word[2], word[3])
        # A character may be split between two adjacent words, so they are decoded together.
        if pending and (between.strip() or charset != pending_charset):
            parts.append(decode_text(bytes(pending), pending_charset))
            pending.clear()
        if between.strip() or not end:
            parts.append(between)
        pending += data
        pending_charset = charset
        end = word.end()
    parts += (decode_text(bytes(pending), pending_charset), text[end:])
    return "".join(parts)


def _encoded_word_bytes(encoding: str, text: str) -> bytes:
    data = text.encode("utf-8", errors="surrogateescape")
    if encoding in "bB":
        return _base64_bytes(re.sub(rb"[^A-Za-z0-9+/]", b"", data))
    return quopri.decodestring(data, header=True)


def _from_base64(data: bytes) -> tuple[bytes, bytes]:
    """Decode the leading lines that are base64, and return also the rest, unchanged."""
    position, ended = 0, False
    runs: list[list[bytes]] = [[]]
    for line in data.splitlines(keepends=True):
        content = line.strip()
        letters = b"".join(content.split())
        match = _BASE64_LINE.fullmatch(letters)
        # Another base64 run may follow the end of one, and a line may contain a stray space. Short lines of either kind
        # are taken for text.
        is_long = len(letters) >= _LONG_LINE_BYTES and max(map(len, content.split())) >= _LONG_LINE_BYTES // 3
        if content and (match is None or (not is_long and (ended or letters != content))):
            break
        position += len(line)
        if content and ended:
            runs.append([])
        ended = bool(match and match[1]) or (ended and not content)
        runs[-1].append(letters.rstrip(b"="))
    return b"".join(_base64_bytes(b"".join(run)) for run in runs), data[position:].strip()


def _base64_bytes(letters: bytes) -> bytes:
    """Decode base64 without padding. A single surplus letter, left when the data was cut off, is dropped."""
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _as_utf8(data: bytes) -> str:
    if data.isascii():
        return ""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def uu_files(data: bytes) -> Iterator[UuFile]:
    """Yield the uuencoded files in a text."""
    position = 0
    while begin := _UU_BEGIN.search(data, position):
        end = _UU_END.search(data, begin.end())
        if end is None:
            return
        position = end.end()
        try:
            content = b"".join(map(_uu_line, data[begin.end() : end.start()].splitlines()))
        except binascii.Error:
            # It only looks like an encoded file; it stays text.
            continue
        name = header_text(begin[1].decode("ascii", errors="surrogateescape"))
        yield UuFile(name, content, begin.start(), position)


def _uu_line(line: bytes) -> bytes:
    if not line:
        return b""
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        # Some programs write more characters than the first one, the line's length, announces.
        return binascii.a2b_uu(line[: 1 + ((line[0] - 32 & 63) * 4 + 5) // 3])


def unwrap_flowed(text: str, *, delete_space: bool) -> str:
    """Join the wrapped lines of text in `format=flowed` ([RFC 3676]), so that each paragraph is one line.

    Args:
        text: The text.
        delete_space: Whether the space that marks a wrapped line is not part of the text.
    """
    parts: list[str] = []
    quotes_before = None
    for line in text.split("\n"):
        quotes = cast(re.Match[str], _QUOTES.match(line))[0]
        content = line[len(quotes) :].removeprefix(" ")
        is_wrapped = content.endswith(" ") and content != "-- "
        if quotes != quotes_before:
            parts.append(f"\n{quotes} " if quotes else "\n")
        parts.append(content[:-1] if is_wrapped and delete_space else content)
        quotes_before = quotes if is_wrapped else None
    return "".join(parts)[1:]
