"""Signed files that enclose their content (S/MIME's `smime.p7m`, and `document.pdf.p7m`; RFC 5652): the content.

Ours, since libraries for cryptography verify signatures, and need the encoding of DER, which mail programs do not keep.
"""

from __future__ import annotations

import binascii
import re
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from core.errors import DocumentRejected
from ingest.parsed_document import ParsedDocument
from ingest.parsers.attachments import MAX_DEPTH
from ingest.parsers.source import SourceFile

SIGNED = "application/pkcs7-mime"
ENCRYPTED = "It is encrypted (S/MIME). Save the e-mail decrypted and drop it instead."
DETACHED = "It is a signature: there is no text in it."
_BROKEN = "The signed or encrypted file (S/MIME) is broken: it may have been cut off."
_MAX_CONTENT_BYTES = 512 * 2**20
_MAX_NESTING = 32
#: Object identifiers, as they are encoded.
_PKCS7 = bytes.fromhex("2a864886f70d0107")
_SIGNED_DATA = _PKCS7 + b"\x02"
_COMPRESSED_DATA = bytes.fromhex("2a864886f70d0109100109")
_ENCRYPTED_DATA = (
    _PKCS7 + b"\x03", _PKCS7 + b"\x04", _PKCS7 + b"\x06", bytes.fromhex("2a864886f70d0109100117"),
)  # fmt: skip
_CONSTRUCTED, _END = 0x20, b"\0\0"
#: A sequence that begins with such an identifier; files of keys have one further behind.
_BINARY_START = re.compile(
    rb"\x30(?:[\x00-\x80]|\x81.|\x82..|\x83...|\x84....)\x06[\x09\x0b](?:"
    + re.escape(_PKCS7) + rb"|" + re.escape(_COMPRESSED_DATA) + rb"|" + re.escape(_ENCRYPTED_DATA[-1]) + rb")",
    re.S,
)  # fmt: skip
_ARMOUR = re.compile(rb"\s*-----BEGIN (?:PKCS7|CMS|PKCS #7 SIGNED DATA)-----(.*?)(?:-----END|\Z)", re.S)
#: The first letters of a sequence of such an object in base64.
_BASE64_START = re.compile(rb"\s*M[A-Za-z0-9+/]{3}[A-Za-z0-9+/\s]{1,40}?(?:KoZIhvcNAQ|qhkiG9w0BB|SqGSIb3DQE)")
_MIME = re.compile(rb"\s*(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?(?:Content-Type|MIME-Version):", re.I)


def is_signed(head: bytes) -> bool:
    """Return whether a file begins like one of these, in its binary form or in base64."""
    if _ARMOUR.match(head) or _BASE64_START.match(head):
        return True
    return _BINARY_START.match(head) is not None


def signed_content(data: bytes) -> bytes:
    """Return the content that is enclosed in a signature, or compressed.

    Raises:
        DocumentRejected: If it is encrypted, broken, or only a signature.
    """
    try:
        return _content(_binary(data))
    except (IndexError, ValueError, StopIteration, zlib.error) as error:
        raise DocumentRejected(_BROKEN) from error


def is_mail(content: bytes) -> bool:
    """Return whether enclosed content is a part of an e-mail and not a file."""
    return _MIME.match(content[:4096]) is not None


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the enclosed content: an e-mail, or a file of any type.

    Raises:
        DocumentRejected: If it is encrypted, broken, only a signature, or nested too deeply.
    """
    from ingest.parsers import parse_file, parse_unknown
    from ingest.parsers.mail.detection import EML

    if source.depth > MAX_DEPTH:
        raise DocumentRejected(f"It is nested in {source.depth} files; {MAX_DEPTH} are allowed.")
    content = signed_content(source.path.read_bytes())
    name = inner_name(source.filename)
    with tempfile.NamedTemporaryFile(prefix="signed-") as file:
        file.write(content)
        file.flush()
        path, depth = Path(file.name), source.depth + 1
        if not is_mail(content):
            return parse_unknown(path, name, source.options, depth=depth)
        document = parse_file(SourceFile(path, name, EML, source.options, depth))
    return replace(document, media_type=source.media_type)


def inner_name(filename: str) -> str:
    """Return the name of the file that is enclosed in a signed one."""
    return re.sub(r"\.p7[ms]\Z", "", filename, flags=re.I)


def _binary(data: bytes) -> bytes:
    armoured = _ARMOUR.match(data)
    if armoured is not None:
        return binascii.a2b_base64(armoured[1])
    return binascii.a2b_base64(data) if _BASE64_START.match(data) else data


def _content(data: bytes) -> bytes:
    kind, content = islice(_children(data, *_span(data, 0)), 2)
    name = data[kind[1] : kind[2]]
    if name in _ENCRYPTED_DATA:
        raise DocumentRejected(ENCRYPTED)
    if name not in (_SIGNED_DATA, _COMPRESSED_DATA):
        raise DocumentRejected(_BROKEN)
    body = next(_children(data, content[1], content[2]))
    # The version, the algorithms, and the enclosed content.
    _, _, enclosed = islice(_children(data, body[1], body[2]), 3)
    parts = list(islice(_children(data, enclosed[1], enclosed[2]), 2))
    if len(parts) < 2:
        raise DocumentRejected(DETACHED)
    inner = next(_children(data, parts[1][1], parts[1][2]))
    found = b"".join(_octets(data, *inner, 0))
    if name == _COMPRESSED_DATA:
        unpacker = zlib.decompressobj()
        found = unpacker.decompress(found, _MAX_CONTENT_BYTES)
        if unpacker.unconsumed_tail:
            raise DocumentRejected(f"It would unpack to more than {_MAX_CONTENT_BYTES // 2**20} MiB.")
    return found


def _octets(data: bytes, tag: int, start: int, end: int, depth: int) -> Iterator[bytes]:
    """Yield the pieces of a string of bytes, which may be made of several."""
    if not tag & _CONSTRUCTED:
        yield data[start:end]
    elif depth < _MAX_NESTING:
        for child in _children(data, start, end):
            yield from _octets(data, *child, depth + 1)


def _children(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the tag, the start and the end of each value in a constructed one, without their heads."""
    while start < end and data[start : start + 2] != _END:
        tag = data[start]
        first, last = _span(data, start)
        yield tag, first, last
        start = last if _is_definite(data, start) else last + len(_END)


def _is_definite(data: bytes, position: int) -> bool:
    return data[position + 1] != 0x80


def _span(data: bytes, position: int, depth: int = 0) -> tuple[int, int]:
    """Return the start and the end of a value's content. A file that was cut off ends where its bytes end."""
    if depth > _MAX_NESTING:
        raise DocumentRejected(_BROKEN)
    length = data[position + 1]
    start = position + 2
    if length < 0x80:
        return start, min(start + length, len(data))
    if length > 0x80:
        size = length & 0x7F
        return start + size, min(start + size + int.from_bytes(data[start : start + size], "big"), len(data))
    end = start
    while end < len(data) and data[end : end + 2] != _END:
        is_definite = _is_definite(data, end)
        _, last = _span(data, end, depth + 1)
        end = last if is_definite else last + len(_END)
    return start, min(end, len(data))
