"""A part of an e-mail, as the standard library's parser creates it: its type, name and content."""

from __future__ import annotations

import re
from email.message import Message
from email.parser import BytesParser
from typing import Any, cast

from core.errors import DocumentRejected
from ingest.parsers.mail.headers import MailPolicy
from ingest.parsers.mail.text import decode_text, decode_transfer_encoding, header_text

#: The limit for one message; an attached message has its own parts.
MAX_PARTS = 1000
TOO_DEEP = "The e-mail is broken: its parts are nested too deeply to be read."
#: Bytes before the headers that would keep them from being parsed: a byte order mark, blank lines, a separator line.
_BEFORE_HEADERS = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*(?:>?From [^\n]*\n(?=[!-9;-~]+:))?")
_MESSAGE_TYPE = "application/x-message-"


#: The exceptions that `email` raises on parameters with an unknown charset, invalid numbers, or contradictory forms.
_PARAMETER_ERRORS = (ValueError, LookupError, TypeError)


class Part(Message):
    """A part of a message. An attached message is not parsed but kept as bytes, because it is read as a file."""

    def get_content_type(self) -> str:
        """Return the media type, changed for messages so that the standard library does not parse them."""
        return super().get_content_type().replace("message/", _MESSAGE_TYPE)

    def get_param(self, param: str, failobj: Any = None, header: str = "content-type", unquote: bool = True) -> Any:
        """Return a parameter of a header, or `failobj` if it is malformed, as with a number of too many digits."""
        try:
            return super().get_param(param, failobj, header, unquote)
        except _PARAMETER_ERRORS:
            return failobj

    def get_params(self, failobj: Any = None, header: str = "content-type", unquote: bool = True) -> Any:
        """Return the parameters of a header, or `failobj` if they contradict each other."""
        try:
            return super().get_params(failobj, header, unquote)
        except _PARAMETER_ERRORS:
            return failobj

    def get_boundary(self, failobj: Any = None) -> Any:
        """Return the boundary between the parts, or `failobj` if its charset is unknown."""
        try:
            return super().get_boundary(failobj)
        except _PARAMETER_ERRORS:
            return failobj

    @property
    def declared_type(self) -> str:
        """The media type as the part declares it."""
        return self.get_content_type().replace(_MESSAGE_TYPE, "message/")

    @property
    def charset(self) -> str | None:
        """The charset that the part declares, or the first that one of its parts declares."""
        return next((part.parameter("charset") for part in self.walk() if part.parameter("charset")), None)

    @property
    def filename(self) -> str:
        """The name that the sender gave the part, or an empty string."""
        try:
            return header_text(self.get_filename() or "")
        except _PARAMETER_ERRORS:
            return ""

    @property
    def is_attachment(self) -> bool:
        """Whether the part declares that it is a file, not to be shown with the text."""
        return self.get_content_disposition() == "attachment"

    def parameter(self, name: str) -> str:
        """Return a parameter of the media type, or an empty string if there is none."""
        value = self.get_param(name)
        # A parameter with its own charset is a tuple of the charset, the language and the value.
        return str((value[2] if isinstance(value, tuple) else value) or "")

    def content(self) -> tuple[bytes, bytes]:
        """Return the decoded content, and any text below it that is not in the transfer encoding."""
        encoding = str(self.get("Content-Transfer-Encoding", ""))
        # Without the header, get_payload returns the raw bytes. The standard library cannot decode faulty encodings.
        del self["Content-Transfer-Encoding"]
        data = self.get_payload(decode=True)
        if not isinstance(data, bytes):
            return b"", b""
        return decode_transfer_encoding(data, encoding)

    @property
    def epilogue_text(self) -> str:
        """The text below the last part; some programs write there."""
        return decode_text((self.epilogue or "").encode("utf-8", errors="surrogateescape"), None)


def read_message(data: bytes) -> Part:
    """Parse a message with its parts.

    Raises:
        DocumentRejected: If there are too many parts, or they are nested too deeply.
    """
    data = _BEFORE_HEADERS.sub(b"", data, count=1)
    try:
        message = cast(Part, BytesParser(Part, policy=MailPolicy()).parsebytes(data))
        for count, _ in enumerate(message.walk()):
            if count > MAX_PARTS:
                raise DocumentRejected(f"The e-mail has more than {MAX_PARTS} parts.")
    except RecursionError as error:
        raise DocumentRejected(TOO_DEEP) from error
    return message
