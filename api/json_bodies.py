"""JSON bodies as clients send them: compressed, with a byte order mark, in another charset, with half a character."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Any

import msgspec
from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request

from api.body_bounds import UNCOUNTED_BYTES, check_values

#: The charsets that are read, with the codecs of Python. Others, among them codecs that are no charsets, are refused.
CHARSETS = {
    "utf-8": "utf-8-sig",
    "utf8": "utf-8-sig",
    "us-ascii": "utf-8-sig",
    "ascii": "utf-8-sig",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-32": "utf-32",
    "utf-32le": "utf-32-le",
    "utf-32be": "utf-32-be",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "iso-8859-15": "iso-8859-15",
    "windows-1252": "cp1252",
}
#: The largest body in which halves of characters are replaced: it takes 0.1 s for each MiB of escapes.
MAX_REPAIRED_BYTES = 2 * 2**20
#: How long others are served between two large bodies that have come at once, for each value of the former, and at
#: most: about as long as the work on it takes.
PAUSE_SECONDS_PER_VALUE, MAX_PAUSE_SECONDS = 2e-6, 0.05
IDENTITY = frozenset({"", "identity"})
GZIP = frozenset({"gzip", "x-gzip"})
#: A JSON escape: a pair of surrogates, a lone one (group 1), or any other.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


async def read_json(request: Request, limit_bytes: int, turns: asyncio.Lock) -> Any:
    """Return the JSON value of a request's body. It is strict: no NaN, and no numbers that overflow.

    Half of a character outside the BMP, as JavaScript leaves it where it cuts a text, becomes U+FFFD. Large bodies are
    read one after the other, those who hold `turns`, with a pause between them.

    Raises:
        HTTPException: the encoding or the charset is not read, the body is too large when unpacked, or it has too many
            values.
        JSONDecodeError: the body is not JSON.
    """
    body, encoding = await request.body(), request.headers.get("content-encoding", "")
    if encoding.strip().lower() not in IDENTITY:
        body = await to_thread.run_sync(_unpacked, body, encoding, limit_bytes)
    try:
        body = _as_utf8(body, request.headers.get("content-type", ""))
        if len(body) > UNCOUNTED_BYTES:
            must_pause = turns.locked()
            async with turns:
                values = await check_values(body)
                if must_pause:
                    await asyncio.sleep(min(values * PAUSE_SECONDS_PER_VALUE, MAX_PAUSE_SECONDS))
        return await _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), "", 0) from error


def _unpacked(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    if encoding.strip().lower() not in GZIP:
        raise HTTPException(415, f"The Content-Encoding {encoding[:80]!r} is not read here; send gzip, or none.")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise HTTPException(400, f"The body is no gzip, as its Content-Encoding says: {error}") from error
    if len(unpacked) > limit_bytes:
        raise HTTPException(413, f"The unpacked body is larger than {limit_bytes} bytes (MAX_BODY_BYTES).")
    if not unpacker.eof or unpacker.unused_data:
        raise HTTPException(400, "The body is not one complete gzip stream, as its Content-Encoding says.")
    return unpacked


def _as_utf8(body: bytes, content_type: str) -> bytes:
    header = Message()
    header["content-type"] = content_type
    declared = str(header.get_param("charset", "") or "").strip().lower()
    codec = CHARSETS.get(declared)
    if declared and codec is None:
        known = ", ".join(CHARSETS)
        raise HTTPException(415, f"The charset {declared[:80]!r} of the body is not read here; these are: {known}.")
    if codec is None:
        codec = json.detect_encoding(body)  # by a byte order mark, or the zeros of UTF-16 and UTF-32
    if codec in ("utf-8", "utf-8-sig"):
        return body.removeprefix(b"\xef\xbb\xbf")
    return body.decode(codec).removeprefix("\ufeff").encode()


async def _decode(body: bytes) -> Any:
    try:
        return _decoded(body)
    except msgspec.DecodeError:
        # In a thread, which lets others be served between two escapes.
        repaired = await to_thread.run_sync(_repaired, body) if len(body) <= MAX_REPAIRED_BYTES else body
        if repaired == body:
            raise
        return _decoded(repaired)


def _repaired(body: bytes) -> bytes:
    return _ESCAPE.sub(lambda escape: b"\\ufffd" if escape[1] else escape[0], body)


def _decoded(body: bytes) -> Any:
    with _no_collection():
        return msgspec.json.decode(body)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect no garbage meanwhile: for millions of small values, that takes eight times as long as decoding them."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
