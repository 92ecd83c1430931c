"""Searches byte by byte for a short text that completes what a grammar has begun. Pure.

A text is a list of symbols: a byte, or a number from `FIRST_CONTROL` on for a control token, which has no bytes.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
from llguidance import LLMatcher, LLTokenizer

#: The most candidates that one search tries, over all positions where a key, a constant or the like must be chosen.
MAX_TRIES = 48
#: At a position with more candidates than this, none is tried.
MAX_CANDIDATES = 10
#: If more bytes than the first number are allowed, the grammar takes text here; with more than the second, any text.
SOME_TEXT_BYTES, ANY_TEXT_BYTES = 64, 128
#: Bytes that close a value, best first; that begin a value; and that soon end a number, a time or a part of an address.
_CLOSERS = tuple(b'}]",')
_VALUES = frozenset(b'"{[-0123456789ntf')
_DIGITS = tuple(b"1234567890")
_SIMPLE = (*b"@:Z", *_DIGITS)
#: Smaller symbols are bytes, symbols from this one on are control tokens.
FIRST_CONTROL = 256
Symbols = list[int]


@cache
def byte_tokenizer() -> LLTokenizer:
    """Return the vocabulary of the states that are searched.

    It has a token for each byte, five spare tokens for control tokens, and one for the end.
    """
    return LLTokenizer("byte")


def shortest_end(state: LLMatcher, most_bytes: int, text_end: bytes = b"") -> Symbols | None:
    """Return roughly the shortest text that completes an answer, or None if none within `most_bytes` was found.

    If several symbols may come next, each is followed to an end by the simplest choices, and the one with the nearest
    end is taken. `text_end` ends an unquoted value of several lines. `state` is not changed.
    """
    written, at, tries = Symbols(), state.deep_copy(), MAX_TRIES
    recent: Counter[int] = Counter()
    while not at.is_accepting():
        if len(written) > most_bytes or at.is_error():
            return None
        step = at.compute_ff_tokens()
        if step:
            recent.clear()
        else:
            allowed = _allowed(at)
            step, candidates = _obvious(allowed, text_end), _distinct(allowed)
            if not step and 1 < len(candidates) <= min(MAX_CANDIDATES, tries):
                tries -= len(candidates)
                step = _best_candidate(at, candidates, most_bytes - len(written), text_end)
            step = step or _least_used(allowed, recent)
        if not step or not at.consume_tokens(step):
            return None
        written += step
    return written if len(written) <= most_bytes else None


def _best_candidate(state: LLMatcher, candidates: Symbols, most_bytes: int, text_end: bytes) -> Symbols:
    """Return the candidate with the nearest end, or nothing if none has an end within `most_bytes`."""
    best, least = Symbols(), most_bytes + 1
    for symbol in candidates:
        at = state.deep_copy()
        length = _simple_length(at, least, text_end) if at.consume_token(symbol) else None
        if length is not None and length < least:
            best, least = [symbol], length
    return best


def _simple_length(at: LLMatcher, most_bytes: int, text_end: bytes) -> int | None:
    """Return the distance to an end by the simplest choices, or None if it is more than `most_bytes`."""
    length = 0
    recent: Counter[int] = Counter()
    while not at.is_accepting():
        step = at.compute_ff_tokens()
        if step:
            recent.clear()
        else:
            allowed = _allowed(at)
            step = _obvious(allowed, text_end) or _least_used(allowed, recent)
        length += len(step)
        if not step or length > most_bytes or not at.consume_tokens(step):
            return None
    return length


def _allowed(at: LLMatcher) -> Symbols:
    mask = np.frombuffer(at.compute_bitmask(), np.uint8)
    bits = np.unpackbits(mask, count=byte_tokenizer().eos_token, bitorder="little")
    allowed: Symbols = np.flatnonzero(bits).tolist()
    return allowed


def _obvious(allowed: Symbols, text_end: bytes) -> Symbols:
    """Return symbols that end a text, list, object, number or part of a call, or nothing if none obviously does."""
    if allowed and allowed[-1] >= FIRST_CONTROL:
        return allowed[-1:]
    if len(allowed) > SOME_TEXT_BYTES:
        if text_end and text_end[0] in allowed:  # in a JSON string, a line break is not allowed
            return list(text_end)
        filler = b"." if len(allowed) > ANY_TEXT_BYTES else b""
        return list(b'"' if ord('"') in allowed else filler)
    # At the beginning of a value, a quotation mark opens a string, and other values may be shorter.
    closers = _CLOSERS if len(allowed) < 2 or not _VALUES.issuperset(allowed) else _CLOSERS[:2]
    return next(([byte] for byte in closers if byte in allowed), [])


def _distinct(allowed: Symbols) -> Symbols:
    """Return the symbols that lead to different ends: of all digits, only one."""
    digit = next((byte for byte in _DIGITS if byte in allowed), None)
    return [byte for byte in allowed if byte == digit or byte not in _DIGITS]


def _least_used(allowed: Symbols, recent: Counter[int]) -> Symbols:
    """Return the simplest byte among those used least so far, because always taking the same may loop in a pattern."""
    if not allowed:
        return []
    best = min(allowed, key=lambda byte: (recent[byte], _SIMPLE.index(byte) if byte in _SIMPLE else 256, byte))
    recent[best] += 1
    return [best]
