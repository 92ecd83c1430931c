"""A part of an e-mail, as the parser of the standard library gives it: its type, name and content."""

from __future__ import annotations

import re
from email.message import Message
from email.parser import BytesParser
from typing import Any, cast

from core.errors import DocumentRejected
from ingest.parsers.mail.headers import MailPolicy
from ingest.parsers.mail.text import decoded, header_text, transferred

#: Parts of a message; those of a message within it are its own.
MAX_PARTS = 1000
TOO_DEEP = "The e-mail is broken: its parts are nested too deeply to be read."
#: What may stand above the headers and would end them: a byte order mark, blank lines, the line of a mailbox.
_ABOVE = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*(?:>?From [^\n]*\n(?=[!-9;-~]+:))?")
_MESSAGE_TYPE = "application/x-message-"


#: What `email` raises on parameters in a charset that is none, with numbers that are none, or given in two ways.
_BAD_PARAMETERS = (ValueError, LookupError, TypeError)


class Part(Message):
    """A part of a message. A message within it stays bytes: it is a file of its own, whatever encoding it is in."""

    def get_content_type(self) -> str:
        """The media type; that of messages is changed, so that the parser takes them for files."""
        return super().get_content_type().replace("message/", _MESSAGE_TYPE)

    def get_param(self, param: str, failobj: Any = None, header: str = "content-type", unquote: bool = True) -> Any:
        """A parameter of a header; none of one whose numbers have thousands of digits."""
        try:
            return super().get_param(param, failobj, header, unquote)
        except _BAD_PARAMETERS:
            return failobj

    def get_params(self, failobj: Any = None, header: str = "content-type", unquote: bool = True) -> Any:
        """The parameters of a header; none if they contradict each other."""
        try:
            return super().get_params(failobj, header, unquote)
        except _BAD_PARAMETERS:
            return failobj

    def get_boundary(self, failobj: Any = None) -> Any:
        """What divides its parts; nothing if that is in a charset which is none."""
        try:
            return super().get_boundary(failobj)
        except _BAD_PARAMETERS:
            return failobj

    @property
    def kind(self) -> str:
        """The media type that it says it has."""
        return self.get_content_type().replace(_MESSAGE_TYPE, "message/")

    @property
    def charset(self) -> str | None:
        """The charset that it says its text is in, or that the first of its parts says."""
        return next((part.parameter("charset") for part in self.walk() if part.parameter("charset")), None)

    @property
    def filename(self) -> str:
        """The name that its sender gave it, empty if there is none."""
        try:
            return header_text(self.get_filename() or "")
        except _BAD_PARAMETERS:
            # Its charset is none, or its numbers are none.
            return ""

    @property
    def is_attached(self) -> bool:
        """It says that it is a file, and not to be shown with the text."""
        return self.get_content_disposition() == "attachment"

    def parameter(self, name: str) -> str:
        """A parameter of its media type, empty if there is none."""
        value = self.get_param(name)
        # One in a charset of its own comes with the names of that and of a language.
        return str((value[2] if isinstance(value, tuple) else value) or "")

    def content(self) -> tuple[bytes, bytes]:
        """What was sent, and what stands below it in no encoding."""
        encoding = str(self.get("Content-Transfer-Encoding", ""))
        # Without it, the bytes come as they are: the standard library decodes only what has no fault.
        del self["Content-Transfer-Encoding"]
        data = self.get_payload(decode=True)
        if not isinstance(data, bytes):
            return b"", b""
        return transferred(data, encoding)

    @property
    def text_below(self) -> str:
        """What stands below the last of its parts: some programs write there."""
        return decoded((self.epilogue or "").encode("utf-8", errors="surrogateescape"), None)


def read_message(data: bytes) -> Part:
    """A message with its parts.

    Raises:
        DocumentRejected: there are too many, or they are nested too deeply.
    """
    data = _ABOVE.sub(b"", data, count=1)
    try:
        message = cast(Part, BytesParser(Part, policy=MailPolicy()).parsebytes(data))
        for count, _ in enumerate(message.walk()):
            if count > MAX_PARTS:
                raise DocumentRejected(f"The e-mail has more than {MAX_PARTS} parts.")
    except RecursionError as error:
        raise DocumentRejected(TOO_DEEP) from error
    return message
