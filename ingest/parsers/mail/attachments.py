"""Files that come with an e-mail: their names, their content, and why some cannot be read."""

from __future__ import annotations

import mimetypes
from email.parser import BytesParser

from ingest.parsers.attachments import Attachment
from ingest.parsers.charsets import is_text
from ingest.parsers.detection import PLAIN
from ingest.parsers.mail.detection import EML
from ingest.parsers.mail.headers import MailPolicy, first, people_headers
from ingest.parsers.mail.part import Part
from ingest.parsers.mail.text import decoded

_MESSAGES = frozenset(("message/rfc822", "message/global", "message/news"))
#: The headers of a message that came back, without its text.
_HEADERS_ONLY = frozenset(("text/rfc822-headers", "message/rfc822-headers", "message/global-headers"))
_EXTERNAL = "message/external-body"
_ENCRYPTED = "Save the e-mail decrypted and drop it instead."
_SMIME = f"It is encrypted, or signed in a form that its text lies in (S/MIME). {_ENCRYPTED}"
_PGP = f"It is encrypted (PGP). {_ENCRYPTED}"
_SIGNATURE = "It is a signature: there is no text in it."
_TNEF = "It is in a form that only Outlook reads (TNEF). Open the e-mail in Outlook and save what is in it."
_REASONS = {
    "application/pkcs7-mime": _SMIME,
    "application/x-pkcs7-mime": _SMIME,
    "application/pkcs7-signature": _SIGNATURE,
    "application/x-pkcs7-signature": _SIGNATURE,
    "application/pgp-signature": _SIGNATURE,
    "application/pgp-encrypted": "It only says that the e-mail is encrypted (PGP).",
    "application/ms-tnef": _TNEF,
    "application/vnd.ms-tnef": _TNEF,
}
_REASONS_BY_SUFFIX = {".p7m": _SMIME, ".p7s": _SIGNATURE}
_REASONS_BY_START = {
    b"-----BEGIN PGP MESSAGE": _PGP,
    b"-----BEGIN PGP SIGNATURE": _SIGNATURE,
    b"\x78\x9f\x3e\x22": _TNEF,
}


def attachment_of(part: Part, number: int) -> Attachment:
    """A part as a file.

    Args:
        number: what to call it if it has no name.
    """
    if part.kind == _EXTERNAL:
        return Attachment(part.filename or f"part-{number}", None, reason=_elsewhere(part))
    content, below = part.content()
    data = content or below
    if part.kind in _MESSAGES:
        return Attachment(part.filename or f"{_subject(data) or f'message-{number}'}.eml", data, media_type=EML)
    name = part.filename or f"part-{number}{mimetypes.guess_extension(part.kind) or ''}"
    reason = _reason(part, name, data)
    if reason:
        return Attachment(name, None, reason=reason)
    if part.kind in _HEADERS_ONLY:
        return Attachment(name, data, media_type=EML)
    if part.kind.startswith("message/"):
        # Reports on what became of a message, and pieces of one: all of it is worth reading.
        return Attachment(name, data, media_type=PLAIN)
    return Attachment(name, _in_utf8(part, data))


def _subject(data: bytes) -> str:
    message = BytesParser(Part, policy=MailPolicy()).parsebytes(data, headersonly=True)
    return first(people_headers(message), "Subject")


def _reason(part: Part, name: str, data: bytes) -> str:
    by_name = next((reason for suffix, reason in _REASONS_BY_SUFFIX.items() if name.lower().endswith(suffix)), "")
    by_start = next((reason for start, reason in _REASONS_BY_START.items() if data.lstrip().startswith(start)), "")
    return _REASONS.get(part.kind, "") or by_name or by_start


def _elsewhere(part: Part) -> str:
    parameters = part.get_params([])
    where = "; ".join(f"{name}: {value}" for name, value in parameters[1:] if isinstance(value, str))
    return f"It is not in the e-mail but lies elsewhere ({where})."


def _in_utf8(part: Part, data: bytes) -> bytes:
    """A text file in the charset that all parsers try first: its own is only named in the e-mail."""
    charset = part.charset
    if charset is None or part.get_content_maintype() != "text" or not is_text(data):
        return data
    return decoded(data, charset).encode("utf-8")
