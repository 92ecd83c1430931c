"""Bounds on how many values a JSON body has: they are counted in pieces, before anything is made of them.

A body of millions of small values takes a second to decode and validate, in which nobody else is served. Its bytes are
counted a thousand times as fast.
"""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException

#: Objects and lists of a body: far more than a conversation of the most messages has.
MAX_CONTAINERS = 2**16
#: Texts of a body, keys included.
MAX_TEXTS = 2**17
#: Values of a body: twice as many token ids as OpenAI takes in a request.
MAX_VALUES = 600_000
#: Smaller bodies cannot have so many.
UNCOUNTED_BYTES = 2**16
#: A body is counted in pieces of this size, between which others are served. A piece takes some milliseconds.
PIECE_BYTES = 2**17


async def check_values(body: bytes) -> int:
    """Check how many values a JSON text has, and return their number, keys included. What is not JSON may pass.

    Raises:
        HTTPException: there are too many values, texts, or objects and lists.
    """
    start = quotes = containers = commas = 0
    while start < len(body):
        piece = _piece(body, start)
        start += len(piece)
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[quotes % 2 :: 2])
        quotes += len(parts) - 1
        containers += outside.count(b"{") + outside.count(b"[")
        commas += outside.count(b",")
        _check("objects and lists", containers, MAX_CONTAINERS)
        _check("texts and keys", quotes // 2, MAX_TEXTS)
        _check("values", commas + 1, MAX_VALUES)
        await asyncio.sleep(0)
    return quotes // 2 + commas


def _piece(body: bytes, start: int) -> bytes:
    """Return the next piece of a body. It does not end between a backslash and the character after it."""
    piece = body[start : start + PIECE_BYTES]
    backslashes = len(piece) - len(piece.rstrip(b"\\"))
    return piece if backslashes % 2 == 0 else body[start : start + PIECE_BYTES + 1]


def _check(what: str, count: int, most: int) -> None:
    if count > most:
        raise HTTPException(400, f"The body has more than {most:,} {what}. Send less in one request.")
