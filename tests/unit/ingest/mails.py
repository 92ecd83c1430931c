"""E-mails as programs send them, assembled by hand, because the standard library does not write their faults."""

from __future__ import annotations

from collections.abc import Sequence

BASE64_FACT = "VGhlIG5pZ2h0IHRyYWluIHRvIFZpZW5uYSBsZWF2ZXMgYXQgbmluZS4="
USUAL = "From: Ann <ann@example.com>\nTo: bob@example.com\nSubject: Trains\nMIME-Version: 1.0"


def part(content_type: str, body: str, *headers: str) -> bytes:
    """Return a part of a message with its headers."""
    return "\n".join((f"Content-Type: {content_type}", *headers, "", body)).encode()


def multipart(subtype: str, *parts: bytes) -> bytes:
    """Return a multipart part."""
    boundary = f"--=_{subtype}_{sum(map(len, parts))}".encode()
    lines = b"".join(b"\n--" + boundary + b"\n" + each for each in parts)
    head = b'Content-Type: multipart/%s; boundary="%s"\n' % (subtype.encode(), boundary)
    return head + lines + b"\n--" + boundary + b"--\n"


def mail(content: bytes, headers: str = USUAL) -> bytes:
    """Return a message with this part as its content."""
    return headers.encode() + b"\n" + content


def plain_mail(text: str, headers: str = USUAL) -> bytes:
    """Return a message of plain text."""
    return mail(part("text/plain; charset=utf-8", text), headers)


def lines_of(text: str) -> Sequence[str]:
    """Return the lines of a text that are not blank."""
    return [line for line in text.split("\n") if line.strip()]
