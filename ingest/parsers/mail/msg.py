"""Outlook messages, parsed with python-oxmsg. Ours are code pages, embedded messages, and the form of an e-mail."""

from __future__ import annotations

from dataclasses import replace
from email.parser import HeaderParser
from typing import Any

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.archives import FILE_ERRORS
from ingest.parsers.attachments import MAX_ATTACHMENTS, MAX_DEPTH, Attachment
from ingest.parsers.mail.body import Body, BodyFormat, choose_bodies, plain_body
from ingest.parsers.mail.headers import HEADERS, MESSAGE_ID, Headers, MailPolicy, first_value, visible_headers
from ingest.parsers.mail.message import Mail, add_mail
from ingest.parsers.mail.text import decode_text
from ingest.parsers.rtf.compressed import decompress_rtf
from ingest.parsers.source import SourceFile

#: Properties ([MS-OXPROPS]).
_TRANSPORT_HEADERS, _MESSAGE_ID = 0x007D, 0x1035
_SUBJECT, _BODY, _HTML, _RTF = 0x0037, 0x1000, 0x1013, 0x1009
#: Names and addresses, in order of preference.
_SENDER_NAMES, _SENDER_ADDRESSES = (0x0C1A, 0x0042), (0x5D01, 0x5D02, 0x0C1F, 0x0065)
_RECIPIENT_NAMES, _RECIPIENT_ADDRESSES = (0x3001,), (0x39FE, 0x3003)
_FILE_NAMES = (0x3707, 0x3704, 0x3001)
_SUBMITTED, _DELIVERED = 0x0039, 0x0E06
_RECIPIENT_TYPE = 0x0C15
#: The property types of text: UTF-16, and the code page of the message.
_UNICODE, _ANSI = 0x001F, 0x001E
_CODE_PAGES = (0x3FFD, 0x3FDE)
#: The storage of a message embedded as an attachment, and the stream of a message's properties ([MS-OXMSG]).
_EMBEDDED, _PROPERTIES = "__substg1.0_3701000D", "__properties_version1.0"
_ITEM = "It is an Outlook item within the message. Save it as a file of its own."
#: The length of the header of the properties stream, in an embedded and in a top-level message.
_EMBEDDED_HEADER_BYTES, _TOP_LEVEL_HEADER_BYTES = 24, 32
#: For each recipient header, the recipient type, and the property that lists all recipients of the type.
_RECIPIENTS = {"To": (1, 0x0E04), "Cc": (2, 0x0E03), "Bcc": (3, 0x0E02)}


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the headers, body and attachments.

    Raises:
        DocumentRejected: If the message is broken.
    """
    from oxmsg import Message

    try:
        mail = _mail(Message.load(str(source.path)), source)
    except (*FILE_ERRORS, *_charset_errors()) as error:
        raise DocumentRejected(f"The Outlook message is broken: {error}".rstrip(".") + ".") from error
    builder = DocumentBuilder()
    add_mail(builder, mail, source)
    return builder.build(source.media_type, **mail.metadata)


def _mail(message: Any, source: SourceFile) -> Mail:
    text = _TextProperties(message)
    sent = HeaderParser(policy=MailPolicy()).parsestr(text.of(message, _TRANSPORT_HEADERS))
    message_id = str(sent.get(MESSAGE_ID, "")) or text.of(message, _MESSAGE_ID)
    attachments = [_attachment(each, n, text, source) for n, each in enumerate(message.attachments, start=1)]
    headers = _headers(message, text, visible_headers(sent))
    return Mail(headers, " ".join(message_id.split()), _bodies(message, text), attachments)


def _attachment(attachment: Any, number: int, text: _TextProperties, source: SourceFile) -> Attachment:
    name = text.of(attachment, *_FILE_NAMES) or f"attachment-{number}"
    item = next((each for each in attachment._storage.storages if each.name == _EMBEDDED), None)
    if item is None or source.depth >= MAX_DEPTH or number > MAX_ATTACHMENTS:
        return Attachment(name, attachment.file_bytes, reason=_ITEM)
    inner = replace(source, filename=name, depth=source.depth + 1)
    builder = DocumentBuilder()
    try:
        add_mail(builder, _mail(_open_embedded(item), inner), inner)
    except (*FILE_ERRORS, *_charset_errors()) as error:
        return Attachment(name, None, reason=f"The message is broken: {error}".rstrip(".: ") + ".")
    return Attachment(name, None, document=builder.build(source.media_type))


def _charset_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that python-oxmsg raises on code pages that it does not know."""
    from oxmsg.domain.model import UnrecognizedCodePageError, UnsupportedEncodingError

    return UnrecognizedCodePageError, UnsupportedEncodingError


def _open_embedded(item: Any) -> Any:
    """Open an embedded message, which differs from a top-level one only by the shorter header of its properties."""
    from oxmsg import Message

    index = next(number for number, stream in enumerate(item.streams) if stream.name == _PROPERTIES)
    data = item.streams[index].bytes_
    padding = bytes(_TOP_LEVEL_HEADER_BYTES - _EMBEDDED_HEADER_BYTES)
    as_top_level = data[:_EMBEDDED_HEADER_BYTES] + padding + data[_EMBEDDED_HEADER_BYTES:]
    streams = list(item.streams)
    streams[index] = replace(streams[index], bytes_=as_top_level)
    return Message(replace(item, streams=tuple(streams)))


class _TextProperties:
    """Reads text properties of a message, its recipients and its attachments in the message's code page.

    python-oxmsg applies the code page only to the properties of the message itself.
    """

    def __init__(self, message: Any) -> None:
        pages = (message.properties.int_prop_value(tag) for tag in _CODE_PAGES)
        self._charset = next((f"cp{page}" for page in pages if page), None)

    def of(self, owner: Any, *tags: int) -> str:
        """Return the first non-empty text of these properties of a message, attachment or recipient, or ""."""
        return next(filter(None, (self._one(owner, tag) for tag in tags)), "")

    def _one(self, owner: Any, tag: int) -> str:
        kinds = {each.ptyp for each in owner.properties if each.pid == tag}
        if _UNICODE in kinds:
            return str(owner.properties.str_prop_value(tag) or "")
        if _ANSI in kinds:
            return decode_text(owner._storage.property_stream_bytes(tag, _ANSI), self._charset)
        return ""


def _headers(message: Any, text: _TextProperties, sent: Headers) -> Headers:
    """Return the headers that the message was sent with, completed from Outlook's properties."""
    known = {name: first_value(sent, name) for name in HEADERS}
    known["From"] = known["From"] or _person(message, text, _SENDER_NAMES, _SENDER_ADDRESSES)
    known["Subject"] = text.of(message, _SUBJECT) or known["Subject"]
    recipients = [(_recipient_type(each), each) for each in message.recipients]
    for name, (kind, listed) in _RECIPIENTS.items():
        people = [_person(one, text, _RECIPIENT_NAMES, _RECIPIENT_ADDRESSES) for of, one in recipients if of == kind]
        known[name] = known[name] or ", ".join(people) or text.of(message, listed)
    date = message.properties.date_prop_value(_SUBMITTED) or message.properties.date_prop_value(_DELIVERED)
    if not known["Date"] and date is not None:
        known["Date"] = date.isoformat()
    usual = [(name, " ".join(value.split())) for name, value in known.items() if value.strip()]
    return [*usual, *((name, value) for name, value in sent if name not in HEADERS)]


def _recipient_type(recipient: Any) -> int:
    # The upper bits are flags about the delivery.
    return (recipient.properties.int_prop_value(_RECIPIENT_TYPE) or 1) & 0xF


def _person(owner: Any, text: _TextProperties, names: tuple[int, ...], addresses: tuple[int, ...]) -> str:
    name, address = text.of(owner, *names), text.of(owner, *addresses)
    return f"{name} <{address}>" if name and address and name != address else name or address


def _bodies(message: Any, text: _TextProperties) -> list[Body]:
    chosen = choose_bodies([[plain_body(text.of(message, _BODY))], [Body(BodyFormat.HTML, _html(message, text))]])
    compressed = message.properties.binary_prop_value(_RTF)
    if chosen or not compressed:
        return chosen
    try:
        # The RTF may encapsulate HTML, which the RTF parser handles.
        return [Body(BodyFormat.RTF, decompress_rtf(compressed).decode("latin-1"))]
    except ValueError as error:
        return [Body(BodyFormat.PLAIN, f"The text of this e-mail was not read: {error}.")]


def _html(message: Any, text: _TextProperties) -> str:
    data = message.properties.binary_prop_value(_HTML)
    return decode_text(data, message.properties.body_encoding, is_html=True) if data else text.of(message, _HTML)
