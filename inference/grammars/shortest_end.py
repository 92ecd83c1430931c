"""A short text that completes what a grammar has begun, searched for byte by byte. Pure.

Beside bytes there may be a few control tokens, which have none: in a text each is a number from `FIRST_CONTROL` on.
"""

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
_CLOSERS = tuple(b'}]",')
_VALUES = frozenset(b'"{[-0123456789ntf')
_DIGITS = tuple(b"1234567890")
_SIMPLE = (*b"@:Z", *_DIGITS)
#: Bytes, and control tokens from this number on.
FIRST_CONTROL = 256
Symbols = list[int]


@cache
def byte_tokenizer() -> LLTokenizer:
    """The vocabulary that states searched here are of: a token for each byte, five spare ones for control tokens, and
    the end.
    """
    return LLTokenizer("byte")


def shortest_end(state: LLMatcher, most_bytes: int, text_end: bytes = b"") -> Symbols | None:
    """About the shortest text that makes an answer whole; None if none of `most_bytes` was found.

    Where several ways are open, each is followed to its end in the simplest manner, and the one that gets there first
    is taken. `text_end` is what ends text that stands as it is, of several lines. `state` is not changed.
    """
    written, at, tries = Symbols(), state.deep_copy(), MOST_TRIES
    recent: Counter[int] = Counter()
    while not at.is_accepting():
        if len(written) > most_bytes or at.is_error():
            return None
        step = at.compute_ff_tokens()
        if step:
            recent.clear()
        else:
            ways = _ways(at)
            step, open_ways = _obvious(ways, text_end), _distinct(ways)
            if not step and 1 < len(open_ways) <= min(MOST_WAYS, tries):
                tries -= len(open_ways)
                step = _tried_out(at, open_ways, most_bytes - len(written), text_end)
            step = step or _least_used(ways, recent)
        if not step or not at.consume_tokens(step):
            return None
        written += step
    return written if len(written) <= most_bytes else None


def _tried_out(state: LLMatcher, ways: Symbols, most_bytes: int, text_end: bytes) -> Symbols:
    """The way with the nearest end; none if none has one."""
    best, least = Symbols(), most_bytes + 1
    for way in ways:
        at = state.deep_copy()
        length = _simple_length(at, least, text_end) if at.consume_token(way) else None
        if length is not None and length < least:
            best, least = [way], length
    return best


def _simple_length(at: LLMatcher, most_bytes: int, text_end: bytes) -> int | None:
    """Bytes to an end, without trying ways out; None if there is none within `most_bytes`."""
    length = 0
    recent: Counter[int] = Counter()
    while not at.is_accepting():
        step = at.compute_ff_tokens()
        if step:
            recent.clear()
        else:
            ways = _ways(at)
            step = _obvious(ways, text_end) or _least_used(ways, recent)
        length += len(step)
        if not step or length > most_bytes or not at.consume_tokens(step):
            return None
    return length


def _ways(at: LLMatcher) -> Symbols:
    mask = np.frombuffer(at.compute_bitmask(), np.uint8)
    bits = np.unpackbits(mask, count=byte_tokenizer().eos_token, bitorder="little")
    ways: Symbols = np.flatnonzero(bits).tolist()
    return ways


def _obvious(ways: Symbols, text_end: bytes) -> Symbols:
    """What ends a text, list, object, number or part of a call; nothing if a choice has to be made."""
    if ways and ways[-1] >= FIRST_CONTROL:
        return ways[-1:]
    if len(ways) > SOME_TEXT_BYTES:
        if text_end and text_end[0] in ways:  # unlike in JSON's strings
            return list(text_end)
        filler = b"." if len(ways) > ANY_TEXT_BYTES else b""
        return list(b'"' if ord('"') in ways else filler)
    # Where a value begins, a quotation mark ends nothing: other values may be shorter.
    closers = _CLOSERS if len(ways) < 2 or not _VALUES.issuperset(ways) else _CLOSERS[:2]
    return next(([byte] for byte in closers if byte in ways), [])


def _distinct(ways: Symbols) -> Symbols:
    """The ways that may make a difference: of digits, one is as good as the others."""
    digit = next((byte for byte in _DIGITS if byte in ways), None)
    return [byte for byte in ways if byte == digit or byte not in _DIGITS]


def _least_used(ways: Symbols, recent: Counter[int]) -> Symbols:
    """The simplest byte, but never the same for ever: patterns may go round in circles. Nothing if there is none."""
    if not ways:
        return []
    best = min(ways, key=lambda byte: (recent[byte], _SIMPLE.index(byte) if byte in _SIMPLE else 256, byte))
    recent[best] += 1
    return [best]
