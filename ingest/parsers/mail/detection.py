"""Detects e-mails and mailboxes: by headers that only e-mail has, or by the file's name and any headers."""

from __future__ import annotations

import re

from ingest.parsers.charsets import utf16_as_utf8

EML = "message/rfc822"
MBOX = "application/mbox"

#: How much of a file has to be looked at: servers put many headers, seals and signatures above the sender's headers.
HEAD_BYTES = 64 * 1024
_MAIL_SUFFIXES = frozenset((".eml", ".emlx", ".mbox", ".mail", ".mht", ".mhtml", ".msg"))
_WEEKDAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
#: The separator line above each message of a mailbox, with the sender and a date. A sentence that begins with “From”
#: has no such date.
_SEPARATOR = re.compile(
    rb"From [^\r\n]{0,500}?(?<=[ \t])" + _WEEKDAY + rb",?[ ]+"
    rb"(?:" + _MONTH + rb"[ ]+\d{1,2}|\d{1,2}[ ]+" + _MONTH + rb"[ ]+\d{2,4}),?[ ]+[^\r\n]{0,10}?\d{1,2}:\d\d"
)
_HEADER_LINE = re.compile(rb"[!-9;-~]+:|>?From ")
#: Headers that show the start of a message if there is no blank line before the separator line.
_FIRST_HEADER = re.compile(
    rb"(?:Received|Return-Path|Delivered-To|Message-ID|MIME-Version|From|Date|DKIM-Signature|Status|X-[\w-]+):", re.I
)
_NAME = re.compile(r"[A-Za-z][!-9;-~]*(?=:)")
#: Lines that may precede the headers: the separator line of a mailbox, also in the quoted form that some programs keep,
#: and the length of the message in Apple Mail's files.
_ENVELOPE = re.compile(r"(?:>?From [^\n]*|\d+[ ]*)\n")
#: Headers that programs write and people do not, with the pattern of the value.
_PROGRAM_HEADERS = {
    "received": re.compile(r"(?:from|by)\b.*;|\(qmail", re.I | re.S),
    "message-id": re.compile(r"<\S+>"),
    "mime-version": re.compile(r"\d\.\d"),
    "return-path": re.compile(r"<"),
    "dkim-signature": re.compile(r"[a-z]+\s*="),
    "arc-seal": re.compile(r"[a-z]+\s*="),
    "arc-message-signature": re.compile(r"[a-z]+\s*="),
    "arc-authentication-results": re.compile(r"[a-z]+\s*="),
    "authentication-results": re.compile(r"\S+;"),
    "delivered-to": re.compile(r"\S+@\S+"),
    "x-received": re.compile(r"by\b", re.I),
    "x-mailer": re.compile(r"\S"),
    "content-transfer-encoding": re.compile(r"(?:7bit|8bit|binary|base64|quoted-printable)\s*$", re.I),
}
#: What the headers or their envelope begin with. Most texts do not begin so.
_HEADERS_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:[A-Za-z][!-9;-~]*:|>?From |\d+[ ]*\r?\n)")
_PERSONAL_HEADERS = frozenset(("from", "sender", "to", "cc", "bcc", "subject", "date"))


def mail_type(head: bytes, suffix: str, *, is_named: bool) -> str | None:
    """Return the media type of an e-mail or a mailbox, or None for any other file.

    Args:
        head: The first `HEAD_BYTES` bytes of the file.
        suffix: The suffix of the name that its owner gave it, in lower case.
        is_named: Whether the name indicates another type. The file is then e-mail only if its headers leave no doubt.
    """
    head = utf16_as_utf8(head)
    if not _HEADERS_START.match(head):
        return None
    headers = _headers(head)
    names, program_headers = headers.keys(), _program_headers(headers)
    is_mail_name = suffix in _MAIL_SUFFIXES
    is_certain = "from" in names and len(program_headers) > 1
    if starts_mailbox(head):
        return MBOX if is_mail_name or not is_named or is_certain else None
    if is_mail_name:
        return EML if headers else None
    if is_named:
        return EML if is_certain else None
    # A web page saved as one file (MHTML) has no sender.
    content_type = headers.get("content-type", "").lower()
    is_page = "mime-version" in program_headers and content_type.startswith("multipart/related")
    return EML if is_page or len(program_headers) > 1 or (program_headers and names & _PERSONAL_HEADERS) else None


def starts_mailbox(lines: bytes) -> bool:
    """Return whether a text begins like a mailbox: with a separator line and a message."""
    separator, _, rest = lines.partition(b"\n")
    return is_separator(separator, rest, after_blank=True)


def is_separator(line: bytes, following: bytes, *, after_blank: bool) -> bool:
    """Return whether a line separates two messages of a mailbox.

    Args:
        line: The line.
        following: The text that begins with the next line.
        after_blank: Whether the line before it is blank. It should be, but not all programs ensure that.
    """
    if not line.startswith(b"From ") or not _SEPARATOR.match(line):
        return False
    return bool((_HEADER_LINE if after_blank else _FIRST_HEADER).match(following))


def _headers(head: bytes) -> dict[str, str]:
    """Return the headers at the start of a text, by their names in lower case.

    They are empty if the first line is not a header.
    """
    # Sent headers are ASCII, and so are all headers that matter here.
    text = head.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").lstrip()
    envelope = _ENVELOPE.match(text)
    text = text[envelope.end() :] if envelope else text
    found: dict[str, str] = {}
    name = ""
    for line in text.partition("\n\n")[0].split("\n"):
        if line[:1] in (" ", "\t") and name:
            found[name] += f" {line.strip()}"
            continue
        header = _NAME.match(line)
        if header is None:
            # E-mail has no other lines among its headers: the rest is the body, or this is not an e-mail.
            break
        name = header[0].lower()
        found[name] = line[header.end() + 1 :].strip()
    return found


def _program_headers(headers: dict[str, str]) -> set[str]:
    return {name for name, written in _PROGRAM_HEADERS.items() if written.match(headers.get(name, ""))}
