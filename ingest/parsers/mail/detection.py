"""Which texts are e-mails and mailboxes: by headers that only mail has, or by the name and headers of any kind."""

from __future__ import annotations

import re
from pathlib import Path

EML = "message/rfc822"
MBOX = "application/mbox"

#: Servers put their headers, seals and signatures above those of the sender.
_HEAD_BYTES = 64 * 1024
_MAIL_SUFFIXES = frozenset((".eml", ".emlx", ".mbox", ".mail", ".mht", ".mhtml", ".msg"))
_WEEKDAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
#: The line above each message of a mailbox: who sent it, and when. A sentence that begins with “From” has no such date.
_SEPARATOR = re.compile(
    rb"From [^\r\n]{0,500}?(?<=[ \t])" + _WEEKDAY + rb",?[ ]+"
    rb"(?:" + _MONTH + rb"[ ]+\d{1,2}|\d{1,2}[ ]+" + _MONTH + rb"[ ]+\d{2,4}),?[ ]+[^\r\n]{0,10}?\d{1,2}:\d\d"
)
_HEADER_LINE = re.compile(rb"[!-9;-~]+:|>?From ")
#: Headers that a mailbox's message begins with even where the line above it has no blank line before it.
_FIRST_HEADER = re.compile(
    rb"(?:Received|Return-Path|Delivered-To|Message-ID|MIME-Version|From|Date|DKIM-Signature|Status|X-[\w-]+):", re.I
)
_NAME = re.compile(r"[A-Za-z][!-9;-~]*(?=:)")
#: Lines that may stand above the headers: that of a mailbox, also in the form in which some programs keep it; and the
#: length of the message, in the files of Apple Mail.
_ENVELOPE = re.compile(r"(?:>?From [^\n]*|\d+[ ]*)\n")
#: Headers that programs write and people do not, with what programs write there.
_MARKS = {
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
_BY_PEOPLE = frozenset(("from", "sender", "to", "cc", "bcc", "subject", "date"))


def mail_type(path: Path, suffix: str, *, is_named: bool) -> str | None:
    """The media type of an e-mail or a mailbox, None for any other text.

    Args:
        suffix: that of the name its owner gave it, in lower case.
        is_named: the name says that it is of another type; then only what is beyond doubt is mail.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    headers = _headers(head)
    names, marks = headers.keys(), _marks(headers)
    is_mail_name = suffix in _MAIL_SUFFIXES
    beyond_doubt = "from" in names and len(marks) > 1
    if starts_mailbox(head):
        return MBOX if is_mail_name or not is_named or beyond_doubt else None
    if is_mail_name:
        return EML if headers else None
    if is_named:
        return EML if beyond_doubt else None
    # Pages that programs save in one file have no sender.
    is_page = "mime-version" in marks and headers.get("content-type", "").lower().startswith("multipart/related")
    return EML if is_page or len(marks) > 1 or (marks and names & _BY_PEOPLE) else None


def starts_mailbox(lines: bytes) -> bool:
    """Whether a text begins as a mailbox does: with a line that says who sent a message when, and the message."""
    separator, _, rest = lines.partition(b"\n")
    return is_separator(separator, rest, after_blank=True)


def is_separator(line: bytes, following: bytes, *, after_blank: bool) -> bool:
    """Whether a line divides two messages of a mailbox.

    Args:
        following: what begins with the next line.
        after_blank: the line before it is blank, as it should be; not all programs take care of that.
    """
    if not line.startswith(b"From ") or not _SEPARATOR.match(line):
        return False
    return bool((_HEADER_LINE if after_blank else _FIRST_HEADER).match(following))


def _headers(head: bytes) -> dict[str, str]:
    """The headers that a text begins with, by their names in lower case; none if its first line is no header."""
    # What is sent is ASCII, and a header of this parser's interest is too.
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
            # Mail has no other lines among its headers; what follows is its body, or it is no mail.
            break
        name = header[0].lower()
        found[name] = line[header.end() + 1 :].strip()
    return found


def _marks(headers: dict[str, str]) -> set[str]:
    return {name for name, written in _MARKS.items() if written.match(headers.get(name, ""))}
