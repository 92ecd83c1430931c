"""The attachments of an e-mail: their names, their content, and why some cannot be read."""

from __future__ import annotations

import mimetypes
from email.parser import BytesParser

from ingest.parsers.attachments import Attachment
from ingest.parsers.charsets import is_text
from ingest.parsers.detection import PLAIN, TNEF, TNEF_SIGNATURE
from ingest.parsers.mail.detection import EML
from ingest.parsers.mail.headers import MailPolicy, first_value, visible_headers
from ingest.parsers.mail.part import Part
from ingest.parsers.mail.signed import SIGNED, is_signed
from ingest.parsers.mail.text import decode_text

_MESSAGES = frozenset(("message/rfc822", "message/global", "message/news"))
#: The headers of a bounced message, without its text.
_HEADERS_ONLY = frozenset(("text/rfc822-headers", "message/rfc822-headers", "message/global-headers"))
_EXTERNAL = "message/external-body"
_SMIME_TYPES = frozenset(("application/pkcs7-mime", "application/x-pkcs7-mime"))
_HEAD_BYTES = 4096
_ENCRYPTED = "Save the e-mail decrypted and drop it instead."
_PGP = f"It is encrypted (PGP). {_ENCRYPTED}"
_SIGNATURE = "It is a signature: there is no text in it."
_RIGHTS = "The e-mail is protected by rights management, and only Outlook opens it. Save it as PDF."
_REASONS = {
    "application/pkcs7-signature": _SIGNATURE,
    "application/x-pkcs7-signature": _SIGNATURE,
    "application/pgp-signature": _SIGNATURE,
    "application/pgp-encrypted": "It only says that the e-mail is encrypted (PGP).",
    "application/x-microsoft-rpmsg-message": _RIGHTS,
}
_REASONS_BY_SUFFIX = {".p7s": _SIGNATURE, ".rpmsg": _RIGHTS}
_REASONS_BY_START = {
    b"-----BEGIN PGP MESSAGE": _PGP,
    b"-----BEGIN PGP SIGNATURE": _SIGNATURE,
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
    wrapped = _wrapped_type(part, name, data)
    if wrapped:
        return Attachment(name, data, media_type=wrapped)
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


def _wrapped_type(part: Part, name: str, data: bytes) -> str | None:
    """Return the type of a file that wraps the text and the files of an e-mail, or None if it is another file."""
    if data.startswith(TNEF_SIGNATURE):
        return TNEF
    is_declared = part.declared_type in _SMIME_TYPES or name.lower().endswith(".p7m")
    return SIGNED if is_declared or is_signed(data[:_HEAD_BYTES]) else None


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
