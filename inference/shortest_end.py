"""A short text that completes what a grammar has begun, searched for byte by byte. Pure."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
from llguidance import LLMatcher, LLTokenizer

#: Ways that are tried out in one search, at all places where keys, constants and the like have to be chosen.
MOST_TRIES = 48
#: Ways on are tried out where there are no more than these.
MOST_WAYS = 10
#: Where more bytes than the first are allowed there is some text, and where more than the second are, any text.
SOME_TEXT_BYTES, ANY_TEXT_BYTES = 64, 128
#: What ends things, best first; what a value begins with; and what ends a number, a time or a part of an address soon.
_CLOSERS = b'}]",'
_VALUES = frozenset(b'"{[-0123456789ntf')
_DIGITS = b"1234567890"
_SIMPLE = b"@:Z" + _DIGITS


@cache
def byte_tokenizer() -> LLTokenizer:
    """The vocabulary that states searched here are of: a token for each byte."""
    return LLTokenizer("byte")


def shortest_end(state: LLMatcher, most_bytes: int) -> bytes | None:
    """About the shortest text that makes an answer whole; None if none of `most_bytes` was found.

    Where several ways are open, each is followed to its end in the simplest manner, and the one that gets there first
    is taken. `state` is not changed.
    """
    written, at, tries = bytearray(), state.deep_copy(), MOST_TRIES
    recent: Counter[int] = Counter()
    while not at.is_accepting():
        if len(written) > most_bytes or at.is_error():
            return None
        step = at.compute_ff_bytes()
        if step:
            recent.clear()
        else:
            ways = _ways(at)
            open_ways = _distinct(ways)
            if (best := _obvious(ways)) is None and 1 < len(open_ways) <= min(MOST_WAYS, tries):
                tries -= len(open_ways)
                best = _tried_out(at, open_ways, most_bytes - len(written))
            step = bytes([_least_used(ways, recent) if best is None else best]) if ways else b""
        if not step or not at.consume_tokens(list(step)):
            return None
        written += step
    return bytes(written) if len(written) <= most_bytes else None


def _tried_out(state: LLMatcher, ways: list[int], most_bytes: int) -> int | None:
    """The way with the nearest end."""
    best, least = None, most_bytes + 1
    for way in ways:
        at = state.deep_copy()
        length = _simple_length(at, least) if at.consume_token(way) else None
        if length is not None and length < least:
            best, least = way, length
    return best


def _simple_length(at: LLMatcher, most_bytes: int) -> int | None:
    """Bytes to an end, without trying ways out; None if there is none within `most_bytes`."""
    length = 0
    recent: Counter[int] = Counter()
    while not at.is_accepting():
        step = at.compute_ff_bytes()
        if step:
            recent.clear()
        else:
            ways = _ways(at)
            if not ways:
                return None
            best = _obvious(ways)
            step = bytes([_least_used(ways, recent) if best is None else best])
        length += len(step)
        if length > most_bytes or not at.consume_tokens(list(step)):
            return None
    return length


def _ways(at: LLMatcher) -> list[int]:
    mask = np.frombuffer(at.compute_bitmask(), np.uint8)
    ways: list[int] = np.flatnonzero(np.unpackbits(mask[:32], bitorder="little")).tolist()
    return ways


def _obvious(ways: list[int]) -> int | None:
    """The byte that ends a text, list, object or number; None if a choice has to be made."""
    if len(ways) > SOME_TEXT_BYTES:
        filler = ord(".") if len(ways) > ANY_TEXT_BYTES else None
        return ord('"') if ord('"') in ways else filler
    # Where a value begins, a quotation mark ends nothing: other values may be shorter.
    closers = _CLOSERS if len(ways) < 2 or not _VALUES.issuperset(ways) else _CLOSERS[:2]
    return next((byte for byte in closers if byte in ways), None)


def _distinct(ways: list[int]) -> list[int]:
    """The ways that may make a difference: of digits, one is as good as the others."""
    digit = next((byte for byte in _DIGITS if byte in ways), None)
    return [byte for byte in ways if byte == digit or byte not in _DIGITS]


def _least_used(ways: list[int], recent: Counter[int]) -> int:
    """The simplest byte, but never the same for ever: patterns may go round in circles."""
    best = min(ways, key=lambda byte: (recent[byte], _SIMPLE.find(byte) % 256, byte))
    recent[best] += 1
    return best
