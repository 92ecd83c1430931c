"""Searches byte by byte for a short text that completes what a grammar has begun. Pure.

A text is a list of symbols: a byte, or a number from `FIRST_CONTROL` on for a control token, which has no bytes.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import cache

import numpy as np
from llguidance import LLMatcher, LLTokenizer

#: The most candidates that one search tries, over all positions where a key, a constant or the like must be chosen.
MAX_TRIES = 48
#: At a position with more candidates than this, none is tried.
MAX_CANDIDATES = 10
#: The most steps of one search, and of the way to an end from one candidate. A step asks the grammar what may come
#: next, and takes at most `STEP_SYMBOLS` of it.
MAX_STEPS, MAX_CANDIDATE_STEPS = 6144, 128
STEP_SYMBOLS = 64
#: A text that must be long is filled by so many symbols at a time, once it has so many steps.
FILLER_SYMBOLS, FILLER_STEPS = 32, 64
#: After so long the thread releases the interpreter's lock, which the engine's thread may be waiting for.
YIELD_SECONDS = 0.002
#: If more bytes than the first number are allowed, the grammar takes text here; with more than the second, any text.
SOME_TEXT_BYTES, ANY_TEXT_BYTES = 64, 128
#: Bytes that close a value, best first; that begin a value; and that soon end a number, a time or a part of an address.
_CLOSERS = tuple(b'}]",')
_VALUES = frozenset(b'"{[-0123456789ntf')
_DIGITS = tuple(b"1234567890")
_SIMPLE = (*b"@:Z", *_DIGITS)
_FILLER = list(b".")
#: Smaller symbols are bytes, symbols from this one on are control tokens.
FIRST_CONTROL = 256
Symbols = list[int]


@cache
def byte_tokenizer() -> LLTokenizer:
    """Return the vocabulary of the states that are searched.

    It has a token for each byte, five spare tokens for control tokens, and one for the end.
    """
    return LLTokenizer("byte")


class _Walk:
    """A way from a state to an end by the simplest choices."""

    def __init__(self, state: LLMatcher, search: _Search) -> None:
        self.at = state.deep_copy()
        self.length = 0
        self._search = search
        self._steps = 0
        self._forced: Symbols = []
        self._recent: Counter[int] = Counter()

    def forced(self) -> Symbols:
        """Return some of the symbols that must come next, or nothing if there is a choice."""
        if not self._forced:
            self._forced = self.at.compute_ff_tokens()
        step, self._forced = self._forced[:STEP_SYMBOLS], self._forced[STEP_SYMBOLS:]
        if step:
            self._recent.clear()
        return step

    def obvious(self, allowed: Symbols) -> Symbols:
        """Return symbols that end a text, list, object, number or part of a call, or nothing if none obviously does."""
        step = _obvious(allowed, self._search.text_end)
        if step == _FILLER and self._steps >= FILLER_STEPS:
            more = step * FILLER_SYMBOLS
            return more if self.at.validate_tokens(more) == len(more) else step
        return step

    def least_used(self, allowed: Symbols) -> Symbols:
        """Return the simplest byte among those used least so far: always taking the same may loop in a pattern."""
        if not allowed:
            return []
        recent = self._recent
        best = min(allowed, key=lambda byte: (recent[byte], _SIMPLE.index(byte) if byte in _SIMPLE else 256, byte))
        recent[best] += 1
        return [best]

    def take(self, step: Symbols) -> bool:
        """Advance by symbols; return False if they do not fit or the search has used up its steps."""
        self.length += len(step)
        self._steps += 1
        return bool(step) and self._search.may_go_on() and bool(self.at.consume_tokens(step))

    def simple_length(self, most_symbols: int) -> int | None:
        """Go to an end; return its distance, or None if it is too far away."""
        while not self.at.is_accepting():
            step = self.forced()
            if not step:
                allowed = _allowed(self.at)
                step = self.obvious(allowed) or self.least_used(allowed)
            too_far = self.length + len(step) > most_symbols or self._steps > MAX_CANDIDATE_STEPS
            if too_far or not self.take(step):
                return None
        return self.length


class _Search:
    """What one search may still cost."""

    def __init__(self, text_end: bytes) -> None:
        self.text_end = text_end
        self._tries = MAX_TRIES
        self._steps = 0
        self._yielded_at = time.monotonic()

    def may_go_on(self) -> bool:
        """Count a step; return False if there were too many."""
        self._steps += 1
        if time.monotonic() - self._yielded_at > YIELD_SECONDS:
            time.sleep(0)
            self._yielded_at = time.monotonic()
        return self._steps <= MAX_STEPS

    def end_of(self, state: LLMatcher, most_symbols: int) -> Symbols | None:
        written, walk = Symbols(), _Walk(state, self)
        while not walk.at.is_accepting():
            step = walk.forced()
            if not step:
                allowed = _allowed(walk.at)
                step = walk.obvious(allowed)
                step = step or self._best(walk.at, allowed, most_symbols - len(written)) or walk.least_used(allowed)
            if len(written) + len(step) > most_symbols or not walk.take(step):
                return None
            written += step
        return written

    def _best(self, state: LLMatcher, allowed: Symbols, most_symbols: int) -> Symbols:
        """Return the symbol with the nearest end, or nothing if none has one or too many would have to be tried."""
        candidates = _distinct(allowed)
        if not 1 < len(candidates) <= min(MAX_CANDIDATES, self._tries):
            return []
        self._tries -= len(candidates)
        best, least = Symbols(), most_symbols + 1
        for symbol in candidates:
            walk = _Walk(state, self)
            length = walk.simple_length(least) if walk.take([symbol]) else None
            if length is not None and length < least:
                best, least = [symbol], length
        if not best:
            self._tries //= 4  # the end is far from everywhere here
        return best


def shortest_end(state: LLMatcher, most_symbols: int, text_end: bytes = b"") -> Symbols | None:
    """Return roughly the shortest text that completes an answer, or None if none within `most_symbols` was found.

    If several symbols may come next, each is followed to an end by the simplest choices, and the one with the nearest
    end is taken. `text_end` ends an unquoted value of several lines. `state` is not changed.
    """
    return _Search(text_end).end_of(state, most_symbols)


def _allowed(at: LLMatcher) -> Symbols:
    mask = np.frombuffer(at.compute_bitmask(), np.uint8)
    bits = np.unpackbits(mask, count=byte_tokenizer().eos_token, bitorder="little")
    allowed: Symbols = np.flatnonzero(bits).tolist()
    return allowed


def _obvious(allowed: Symbols, text_end: bytes) -> Symbols:
    if allowed and allowed[-1] >= FIRST_CONTROL:
        return allowed[-1:]
    if len(allowed) > SOME_TEXT_BYTES:
        if text_end and text_end[0] in allowed:  # in a JSON string, a line break is not allowed
            return list(text_end)
        return list(b'"') if ord('"') in allowed else _FILLER if len(allowed) > ANY_TEXT_BYTES else []
    # At the beginning of a value, a quotation mark opens a string, and other values may be shorter.
    closers = _CLOSERS if len(allowed) < 2 or not _VALUES.issuperset(allowed) else _CLOSERS[:2]
    return next(([byte] for byte in closers if byte in allowed), [])


def _distinct(allowed: Symbols) -> Symbols:
    """Return the symbols that lead to different ends: of all digits, only one."""
    digit = next((byte for byte in _DIGITS if byte in allowed), None)
    return [byte for byte in allowed if byte == digit or byte not in _DIGITS]
