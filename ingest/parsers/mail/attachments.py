"""The attachments of an e-mail: their names, their content, and why some cannot be read."""

from __future__ import annotations

import mimetypes
from email.parser import BytesParser

from ingest.parsers.attachments import Attachment
from ingest.parsers.charsets import is_text
from ingest.parsers.detection import PLAIN
from ingest.parsers.mail.detection import EML
from ingest.parsers.mail.headers import MailPolicy, first_value, visible_headers
from ingest.parsers.mail.part import Part
from ingest.parsers.mail.text import decode_text

_MESSAGES = frozenset(("message/rfc822", "message/global", "message/news"))
#: The headers of a bounced message, without its text.
_HEADERS_ONLY = frozenset(("text/rfc822-headers", "message/rfc822-headers", "message/global-headers"))
_EXTERNAL = "message/external-body"
_ENCRYPTED = "Save the e-mail decrypted and drop it instead."
_SMIME = f"It is encrypted, or its text is inside a signature (S/MIME). {_ENCRYPTED}"
_PGP = f"It is encrypted (PGP). {_ENCRYPTED}"
_SIGNATURE = "It is a signature: there is no text in it."
_TNEF = "It is in a format that only Outlook reads (TNEF). Open the e-mail in Outlook and save the files in it."
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
    """Return a part of an e-mail as an attachment.

    Args:
        part: The part.
        number: The number that it is named by if it has no name.
    """
    if part.declared_type == _EXTERNAL:
        return Attachment(part.filename or f"part-{number}", None, reason=_external_body_reason(part))
    content, below = part.content()
    data = content or below
    if part.declared_type in _MESSAGES:
        return Attachment(part.filename or f"{_subject(data) or f'message-{number}'}.eml", data, media_type=EML)
    name = part.filename or f"part-{number}{mimetypes.guess_extension(part.declared_type) or ''}"
    reason = _reason(part, name, data)
    if reason:
        return Attachment(name, None, reason=reason)
    if part.declared_type in _HEADERS_ONLY:
        return Attachment(name, data, media_type=EML)
    if part.declared_type.startswith("message/"):
        # Delivery reports, and fragments of messages: all of their content is useful text.
        return Attachment(name, data, media_type=PLAIN)
    return Attachment(name, _to_utf8(part, data))


def _subject(data: bytes) -> str:
    message = BytesParser(Part, policy=MailPolicy()).parsebytes(data, headersonly=True)
    return first_value(visible_headers(message), "Subject")


def _reason(part: Part, name: str, data: bytes) -> str:
    by_name = next((reason for suffix, reason in _REASONS_BY_SUFFIX.items() if name.lower().endswith(suffix)), "")
    by_start = next((reason for start, reason in _REASONS_BY_START.items() if data.lstrip().startswith(start)), "")
    return _REASONS.get(part.declared_type, "") or by_name or by_start


def _external_body_reason(part: Part) -> str:
    parameters = part.get_params([])
    where = "; ".join(f"{name}: {value}" for name, value in parameters[1:] if isinstance(value, str))
    return f"It is not in the e-mail but stored elsewhere ({where})."


def _to_utf8(part: Part, data: bytes) -> bytes:
    """Recode a text file to UTF-8, which all parsers try first; only the e-mail names the file's own charset."""
    charset = part.charset
    if charset is None or part.get_content_maintype() != "text" or not is_text(data):
        return data
    return decode_text(data, charset).encode("utf-8")
