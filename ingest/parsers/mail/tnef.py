"""Outlook's own format of a message and its files (TNEF, `winmail.dat`; [MS-OXTNEF]).

Ours, since the library for it is not kept up, and does not read embedded messages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.attachments import MAX_ATTACHMENTS, Attachment
from ingest.parsers.detection import TNEF, TNEF_SIGNATURE
from ingest.parsers.mail.body import Body, BodyFormat, choose_bodies, plain_body, rtf_text
from ingest.parsers.mail.message import Mail, add_mail
from ingest.parsers.mail.text import decode_text
from ingest.parsers.rtf.compressed import decompress_rtf
from ingest.parsers.source import SourceFile

#: The signature, and a number that nothing needs.
_START_BYTES = 6
_ATTRIBUTE = struct.Struct("<BII")
_CHECKSUM_BYTES = 2
#: Attributes, by the lower half of their numbers.
_SUBJECT, _BODY, _DATE, _CODE_PAGE, _PROPERTIES = 0x8004, 0x800C, 0x8005, 0x9007, 0x9003
_NEW_FILE, _FILE_NAME, _FILE_DATA, _FILE_PROPERTIES = 0x9002, 0x8010, 0x800F, 0x9005
#: Properties ([MS-OXPROPS]).
_P_SUBJECT, _P_BODY, _P_HTML, _P_RTF = 0x0037, 0x1000, 0x1013, 0x1009
_P_SENDER, _P_SENDER_ADDRESS, _P_RECIPIENTS = 0x0C1A, 0x0C1F, 0x0E04
_P_NAMES, _P_DATA = (0x3707, 0x3704, 0x3001), 0x3701
_T_ANSI, _T_UNICODE, _T_BINARY, _T_OBJECT, _T_SEVERAL = 0x1E, 0x1F, 0x102, 0x0D, 0x1000
_VARIABLE = frozenset((_T_ANSI, _T_UNICODE, _T_BINARY, _T_OBJECT))
_FIXED_BYTES = {0x02: 4, 0x03: 4, 0x04: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x0A: 4, 0x0B: 4, 0x14: 8, 0x40: 8, 0x48: 16}
_FIRST_NAMED_PROPERTY = 0x8000
_GUID_BYTES = 16
NO_TEXT = "It has only settings of Outlook (TNEF): there is no text in it."
_TRUNCATED = "The Outlook file (TNEF) is broken: it may have been cut off."


@dataclass(slots=True)
class _Value:
    kind: int
    data: bytes


@dataclass(slots=True)
class _File:
    name: bytes = b""
    data: bytes | None = None
    properties: dict[int, _Value] = field(default_factory=dict)


@dataclass(slots=True)
class _Message:
    attributes: dict[int, bytes] = field(default_factory=dict)
    properties: dict[int, _Value] = field(default_factory=dict)
    files: list[_File] = field(default_factory=list)


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the headers, the text and the files.

    Raises:
        DocumentRejected: If the file is broken.
    """
    mail = read_tnef(source.path.read_bytes())
    builder = DocumentBuilder()
    add_mail(builder, mail, source)
    return builder.build(source.media_type, **mail.metadata)


def read_tnef(data: bytes) -> Mail:
    """Return the message in a file.

    Raises:
        DocumentRejected: If it is broken.
    """
    try:
        return _mail(_message(data))
    except (struct.error, IndexError) as error:
        raise DocumentRejected(_TRUNCATED) from error


def _message(data: bytes) -> _Message:
    message = _Message()
    position = _START_BYTES
    while position < len(data):
        _, number, length = _ATTRIBUTE.unpack_from(data, position)
        start = position + _ATTRIBUTE.size
        position = start + length + _CHECKSUM_BYTES
        if start + length > len(data):
            # The attributes before are still useful; without any, the file is broken.
            if not (message.attributes or message.files):
                raise DocumentRejected(_TRUNCATED)
            break
        _set(message, number & 0xFFFF, data[start : start + length])
    return message


def _set(message: _Message, number: int, value: bytes) -> None:
    if number == _NEW_FILE:
        message.files.append(_File())
    elif number == _PROPERTIES:
        message.properties = dict(_properties(value))
    elif number in (_FILE_NAME, _FILE_DATA, _FILE_PROPERTIES):
        if not message.files:
            message.files.append(_File())
        file = message.files[-1]
        if number == _FILE_NAME:
            file.name = value
        elif number == _FILE_DATA:
            file.data = value
        else:
            file.properties = dict(_properties(value))
    else:
        message.attributes[number] = value


def _properties(data: bytes) -> Iterator[tuple[int, _Value]]:
    """Yield the properties with a single value."""
    [count] = struct.unpack_from("<I", data)
    position = 4
    for _ in range(count):
        kind, number = struct.unpack_from("<HH", data, position)
        position += 4
        if number >= _FIRST_NAMED_PROPERTY:
            position += _name_bytes(data, position)
        single = kind & ~_T_SEVERAL
        values = 1
        if single in _VARIABLE or kind != single:
            [values] = struct.unpack_from("<I", data, position)
            position += 4
        for _ in range(values):
            if position >= len(data):
                raise IndexError
            size = _FIXED_BYTES.get(single)
            if single in _VARIABLE:
                [size] = struct.unpack_from("<I", data, position)
                position += 4
            if size is None:
                # Without the size of a value, those after it cannot be found.
                return
            if kind == single:
                yield number, _Value(single, data[position : position + size])
            position += _padded(size)


def _name_bytes(data: bytes, position: int) -> int:
    [kind] = struct.unpack_from("<I", data, position + _GUID_BYTES)
    if not kind:
        return _GUID_BYTES + 8
    [length] = struct.unpack_from("<I", data, position + _GUID_BYTES + 4)
    return _GUID_BYTES + 8 + _padded(length)


def _padded(size: int) -> int:
    return size + -size % 4


class _Texts:
    """Decodes the texts of a message, in its code page."""

    def __init__(self, message: _Message) -> None:
        page = message.attributes.get(_CODE_PAGE, b"")[:4]
        number = int.from_bytes(page, "little")
        self._charset = f"cp{number}" if number else None

    def decoded(self, data: bytes) -> str:
        """Return a text that is not Unicode."""
        return decode_text(data.partition(b"\0")[0], self._charset)

    def of(self, properties: dict[int, _Value], *numbers: int) -> str:
        """Return the first text of these properties that is not empty, or an empty string."""
        for number in numbers:
            value = properties.get(number)
            if value is None or value.kind not in (_T_ANSI, _T_UNICODE):
                continue
            is_wide = value.kind == _T_UNICODE
            text = value.data.decode("utf-16-le", errors="replace") if is_wide else self.decoded(value.data)
            if text := text.partition("\0")[0].strip():
                return text
        return ""

    def attribute(self, message: _Message, number: int, prop: int) -> str:
        """Return the text of a property, or else of the attribute that older programs write instead."""
        return self.of(message.properties, prop) or self.decoded(message.attributes.get(number, b"")).strip()


def _mail(message: _Message) -> Mail:
    texts = _Texts(message)
    name, address = (texts.of(message.properties, number) for number in (_P_SENDER, _P_SENDER_ADDRESS))
    headers = {
        "From": f"{name} <{address}>" if name and "@" in address and name != address else name or address,
        "To": texts.of(message.properties, _P_RECIPIENTS),
        "Date": _date(message.attributes.get(_DATE, b"")),
        "Subject": texts.attribute(message, _SUBJECT, _P_SUBJECT),
    }
    usual = [(key, " ".join(value.split())) for key, value in headers.items() if value]
    files = [_attachment(file, number, texts) for number, file in enumerate(message.files, start=1)]
    return Mail(usual, "", _bodies(message, texts), files[: MAX_ATTACHMENTS + 1])


def _date(data: bytes) -> str:
    if len(data) < 12:
        return ""
    year, month, day, hour, minute, second = struct.unpack_from("<6H", data)
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}" if year else ""


def _bodies(message: _Message, texts: _Texts) -> list[Body]:
    page = message.properties.get(_P_HTML)
    html = decode_text(page.data, None, is_html=True) if page and page.kind == _T_BINARY else ""
    html = html or texts.of(message.properties, _P_HTML)
    plain = texts.attribute(message, _BODY, _P_BODY)
    chosen = choose_bodies([[plain_body(plain)], [Body(BodyFormat.HTML, html)]])
    rich = message.properties.get(_P_RTF)
    if chosen or rich is None:
        return chosen
    try:
        return [Body(BodyFormat.PLAIN, rtf_text(decompress_rtf(rich.data)))]
    except ValueError as error:
        return [Body(BodyFormat.PLAIN, f"The text of this e-mail was not read: {error}.")]


def _attachment(file: _File, number: int, texts: _Texts) -> Attachment:
    name = texts.of(file.properties, *_P_NAMES) or texts.decoded(file.name) or f"attachment-{number}"
    value = file.properties.get(_P_DATA)
    if value is not None and value.kind == _T_OBJECT:
        inner = value.data[_GUID_BYTES:]
        if inner.startswith(TNEF_SIGNATURE):
            return Attachment(name, inner, media_type=TNEF)
        return Attachment(name, None, reason="It is an object of Outlook. Save it as a file of its own.")
    return Attachment(name, file.data if file.data is not None else value.data if value else None)
