"""From the bytes of an e-mail to its text: transfer encodings, charsets, and lines that were broken to be sent."""

from __future__ import annotations

import binascii
import codecs
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from ingest.parsed_document import readable
from ingest.parsers.charsets import decode, decode_marked_up

#: Programs name the smaller charset and use the larger one, as browsers know.
_LARGER = {
    "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950",
}  # fmt: skip
#: Codecs of Python's for other things; one takes long.
_NO_CHARSETS = frozenset(("punycode", "idna", "unicode_escape", "raw_unicode_escape"))
_LONG_LINE_BYTES = 60
_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/]+(={0,2})")
#: An encoded word of a header. Programs that write `?` or spaces in it are wrong, and there are many.
_WORD = re.compile(r"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?]*(?:\?(?!=)[^?]*){0,4})\?=")
_QUOTES = re.compile(r">*")
#: Bytes outside ASCII as the parser of messages gives them, and other surrogates, which are of no text.
_RAW_BYTE = re.compile("[\udc80-\udcff]")
_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_UU_BEGIN = re.compile(rb"^begin [0-7]{3,4} ([^\r\n]+)\r?\n", re.M)
_UU_END = re.compile(rb"^end[ \t]*(?:\r?\n|\Z)", re.M)


@dataclass(frozen=True, slots=True)
class UuFile:
    """A file within a text, which it takes the place of from `start` to `end`."""

    name: str
    content: bytes
    start: int
    end: int


def transferred(data: bytes, encoding: str) -> tuple[bytes, bytes]:
    """What was sent, and what stands below it in no encoding: lists of addresses put their footers there.

    Args:
        encoding: as its header names it; one that is not known is none.
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


def decoded(data: bytes, charset: str | None, *, is_html: bool = False) -> str:
    """The text of bytes, in the charset that is named if they fit it. Never fails."""
    if charset and charset.lower().replace("-", "_") not in _NO_CHARSETS:
        # A charset of this name may be none of text, or have any error of its own.
        try:
            name = codecs.lookup(charset).name
            text = data.decode(_LARGER.get(name, name))
        except (LookupError, ValueError):
            pass
        else:
            # What is valid UTF-8 and more than ASCII was named wrong where any byte would have fitted.
            return readable(_as_utf8(data) or text if len(text) == len(data) else text).removeprefix("\ufeff")
    return decode_marked_up(data) if is_html else decode(data)


def header_text(raw: str, charset: str | None = None) -> str:
    """A header as people read it: in one line, without the encoding that it is sent in. Never fails.

    Args:
        raw: as the parser of messages gives it, bytes outside ASCII as surrogates.
        charset: that of the message, which bytes outside ASCII are in if they are no UTF-8.
    """
    return " ".join(readable(_decoded_words(unfolded(raw, charset))).split())


def unfolded(raw: str, charset: str | None = None) -> str:
    """A header in one line, and otherwise as it was sent; see `header_text`."""
    text = _LONE_SURROGATE.sub("", raw)
    if _RAW_BYTE.search(text):
        data = text.encode("utf-8", errors="surrogateescape")
        text = _as_utf8(data) or decoded(data, charset)
    return text.replace("\r", "").replace("\n", "")


def _decoded_words(text: str) -> str:
    parts: list[str] = []
    end = 0
    waiting, waiting_charset = bytearray(), ""
    for word in _WORD.finditer(text):
        between = text[end : word.start()]
        charset, data = word[1].lower(), _word_bytes(word[2], word[3])
        # A character may be divided between two words: they are decoded together.
        if waiting and (between.strip() or charset != waiting_charset):
            parts.append(decoded(bytes(waiting), waiting_charset))
            waiting.clear()
        if between.strip() or not end:
            parts.append(between)
        waiting += data
        waiting_charset = charset
        end = word.end()
    parts += (decoded(bytes(waiting), waiting_charset), text[end:])
    return "".join(parts)


def _word_bytes(encoding: str, text: str) -> bytes:
    data = text.encode("utf-8", errors="surrogateescape")
    if encoding in "bB":
        return _base64_bytes(re.sub(rb"[^A-Za-z0-9+/]", b"", data))
    return quopri.decodestring(data, header=True)


def _from_base64(data: bytes) -> tuple[bytes, bytes]:
    """Decodes the lines that are in base64, and gives the rest back as it is."""
    position, ended = 0, False
    runs: list[list[bytes]] = [[]]
    for line in data.splitlines(keepends=True):
        content = line.strip()
        letters = b"".join(content.split())
        match = _BASE64_LINE.fullmatch(letters)
        # Below the end of one run there may be another, and in a line a stray space: short lines are words.
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
    """The bytes of base64 without its padding; one letter too many, of what was cut off, is none."""
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
    """The files that uuencode put into a text."""
    position = 0
    while begin := _UU_BEGIN.search(data, position):
        end = _UU_END.search(data, begin.end())
        if end is None:
            return
        position = end.end()
        try:
            content = b"".join(map(_uu_line, data[begin.end() : end.start()].splitlines()))
        except binascii.Error:
            # It only looks so: the text says it.
            continue
        name = header_text(begin[1].decode("ascii", errors="surrogateescape"))
        yield UuFile(name, content, begin.start(), position)


def _uu_line(line: bytes) -> bytes:
    if not line:
        return b""
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        # Some programs write more letters than those that the line's first one counts.
        return binascii.a2b_uu(line[: 1 + ((line[0] - 32 & 63) * 4 + 5) // 3])


def unflowed(text: str, *, delete_space: bool) -> str:
    """Text in `format=flowed` ([RFC 3676]) with its paragraphs in one line again.

    Args:
        delete_space: the space that marks a broken line is none of the text's.
    """
    parts: list[str] = []
    quotes_before = None
    for line in text.split("\n"):
        quotes = cast(re.Match[str], _QUOTES.match(line))[0]
        content = line[len(quotes) :].removeprefix(" ")
        goes_on = content.endswith(" ") and content != "-- "
        if quotes != quotes_before:
            parts.append(f"\n{quotes} " if quotes else "\n")
        parts.append(content[:-1] if goes_on and delete_space else content)
        quotes_before = quotes if goes_on else None
    return "".join(parts)[1:]
