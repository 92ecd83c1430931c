"""Outlook's messages, through python-oxmsg."""

from __future__ import annotations

from dataclasses import replace
from email.parser import HeaderParser
from typing import Any

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.archives import BROKEN_FILE
from ingest.parsers.attachments import MAX_ATTACHMENTS, MAX_DEPTH, Attachment
from ingest.parsers.mail.body import Body, Form, best_of, plain_body
from ingest.parsers.mail.headers import HEADERS, MESSAGE_ID, Headers, MailPolicy, first, people_headers
from ingest.parsers.mail.message import Mail, add_mail
from ingest.parsers.mail.text import decoded
from ingest.parsers.rtf.compressed import decompress_rtf
from ingest.parsers.source import SourceFile

#: Properties ([MS-OXPROPS]).
_TRANSPORT_HEADERS, _MESSAGE_ID = 0x007D, 0x1035
_SUBJECT, _BODY, _HTML, _RTF = 0x0037, 0x1000, 0x1013, 0x1009
#: Names and addresses, the best known first.
_SENDER_NAMES, _SENDER_ADDRESSES = (0x0C1A, 0x0042), (0x5D01, 0x5D02, 0x0C1F, 0x0065)
_RECIPIENT_NAMES, _RECIPIENT_ADDRESSES = (0x3001,), (0x39FE, 0x3003)
_FILE_NAMES = (0x3707, 0x3704, 0x3001)
_SUBMITTED, _DELIVERED = 0x0039, 0x0E06
_RECIPIENT_TYPE = 0x0C15
#: The types of texts: in UTF-16, and in the code page of the message.
_UNICODE, _ANSI = 0x001F, 0x001E
_CODE_PAGES = (0x3FFD, 0x3FDE)
#: Where an attachment keeps a message, and a message its properties; how long what stands before those is ([MS-OXMSG]).
_EMBEDDED, _PROPERTIES = "__substg1.0_3701000D", "__properties_version1.0"
_ITEM = "It is an Outlook item within the message. Save it as a file of its own."
_INNER_HEAD_BYTES, _OUTER_HEAD_BYTES = 24, 32
#: The headers that recipients stand in, by their type, and the property that lists them all.
_RECIPIENTS = {"To": (1, 0x0E04), "Cc": (2, 0x0E03), "Bcc": (3, 0x0E02)}


def parse(source: SourceFile) -> ParsedDocument:
    """Headers, body and attachments.

    Raises:
        DocumentRejected: it is broken.
    """
    from oxmsg import Message

    try:
        mail = _mail(Message.load(str(source.path)), source)
    except (*BROKEN_FILE, *_unknown_charsets()) as error:
        raise DocumentRejected(f"The Outlook message is broken: {error}".rstrip(".") + ".") from error
    builder = DocumentBuilder()
    add_mail(builder, mail, source)
    return builder.build(source.media_type, **mail.metadata)


def _mail(message: Any, source: SourceFile) -> Mail:
    text = _Texts(message)
    sent = HeaderParser(policy=MailPolicy()).parsestr(text.of(message, _TRANSPORT_HEADERS))
    message_id = str(sent.get(MESSAGE_ID, "")) or text.of(message, _MESSAGE_ID)
    attachments = [_attachment(each, n, text, source) for n, each in enumerate(message.attachments, start=1)]
    headers = _headers(message, text, people_headers(sent))
    return Mail(headers, " ".join(message_id.split()), _bodies(message, text), attachments)


def _attachment(attachment: Any, number: int, text: _Texts, source: SourceFile) -> Attachment:
    name = text.of(attachment, *_FILE_NAMES) or f"attachment-{number}"
    item = next((each for each in attachment._storage.storages if each.name == _EMBEDDED), None)
    if item is None or source.depth >= MAX_DEPTH or number > MAX_ATTACHMENTS:
        return Attachment(name, attachment.file_bytes, reason=_ITEM)
    inner = replace(source, filename=name, depth=source.depth + 1)
    builder = DocumentBuilder()
    try:
        add_mail(builder, _mail(_opened(item), inner), inner)
    except (*BROKEN_FILE, *_unknown_charsets()) as error:
        return Attachment(name, None, reason=f"The message is broken: {error}".rstrip(".: ") + ".")
    return Attachment(name, None, document=builder.build(source.media_type))


def _unknown_charsets() -> tuple[type[Exception], ...]:
    """What python-oxmsg raises on code pages that it does not know."""
    from oxmsg.domain.model import UnrecognizedCodePageError, UnsupportedEncodingError

    return UnrecognizedCodePageError, UnsupportedEncodingError


def _opened(item: Any) -> Any:
    """A message that lies within another: the same but for the head of its properties, which is shorter."""
    from oxmsg import Message

    at = next(number for number, stream in enumerate(item.streams) if stream.name == _PROPERTIES)
    data = item.streams[at].bytes_
    as_if_outer = data[:_INNER_HEAD_BYTES] + bytes(_OUTER_HEAD_BYTES - _INNER_HEAD_BYTES) + data[_INNER_HEAD_BYTES:]
    streams = list(item.streams)
    streams[at] = replace(streams[at], bytes_=as_if_outer)
    return Message(replace(item, streams=tuple(streams)))


class _Texts:
    """Reads texts of a message and of what is in it: python-oxmsg knows the code page only of the message itself."""

    def __init__(self, message: Any) -> None:
        pages = (message.properties.int_prop_value(tag) for tag in _CODE_PAGES)
        self._charset = next((f"cp{page}" for page in pages if page), None)

    def of(self, owner: Any, *tags: int) -> str:
        """The first text of these properties that a message, an attachment or a recipient has, empty if none."""
        return next(filter(None, (self._one(owner, tag) for tag in tags)), "")

    def _one(self, owner: Any, tag: int) -> str:
        kinds = {each.ptyp for each in owner.properties if each.pid == tag}
        if _UNICODE in kinds:
            return str(owner.properties.str_prop_value(tag) or "")
        if _ANSI in kinds:
            return decoded(owner._storage.property_stream_bytes(tag, _ANSI), self._charset)
        return ""


def _headers(message: Any, text: _Texts, sent: Headers) -> Headers:
    """The headers that the message was sent with, and what Outlook knows beside them."""
    known = {name: first(sent, name) for name in HEADERS}
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
    # The upper bits say what became of it.
    return (recipient.properties.int_prop_value(_RECIPIENT_TYPE) or 1) & 0xF


def _person(owner: Any, text: _Texts, names: tuple[int, ...], addresses: tuple[int, ...]) -> str:
    name, address = text.of(owner, *names), text.of(owner, *addresses)
    return f"{name} <{address}>" if name and address and name != address else name or address


def _bodies(message: Any, text: _Texts) -> list[Body]:
    chosen = best_of([[plain_body(text.of(message, _BODY))], [Body(Form.HTML, _html(message, text))]])
    compressed = message.properties.binary_prop_value(_RTF)
    if chosen or not compressed:
        return chosen
    try:
        # Where HTML is kept in RTF, readers of RTF find its text between the tags.
        return [Body(Form.RTF, decompress_rtf(compressed).decode("latin-1"))]
    except ValueError as error:
        return [Body(Form.PLAIN, f"The text of this e-mail was not read: {error}.")]


def _html(message: Any, text: _Texts) -> str:
    data = message.properties.binary_prop_value(_HTML)
    return decoded(data, message.properties.body_encoding, is_html=True) if data else text.of(message, _HTML)
