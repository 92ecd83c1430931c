"""Completes an answer before its tokens run out, because JSON or a call that is cut off is useless.

A second matcher follows the grammar byte by byte; over bytes it is cheap to search for a short text that completes the
answer (control tokens, which have no bytes, are symbols of their own there). As long as that text fits into the
remaining tokens, the model chooses freely. A token after which it would no longer fit is refused, and only the next
token of the completing text is allowed.

The engine's thread never searches: where it cannot tell at once, `search` runs on another thread, and only this answer
waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from llguidance import LLMatcher

from inference.grammars.shortest_end import FIRST_CONTROL, Symbols, shortest_end

#: The end is near if at most `NEAR_TIMES` times its tokens plus `NEAR_TOKENS` are left. Until then, the end is searched
#: for only every `SEARCH_EVERY_TOKENS` tokens; near it too, once none was found after `UNKNOWN_TOKENS` tokens.
NEAR_TIMES, NEAR_TOKENS = 2, 192
SEARCH_EVERY_TOKENS, UNKNOWN_TOKENS = 16, 4
#: The tokens of a completing text have at most this many bytes on average.
MOST_BYTES_PER_TOKEN = 8
#: Whether a known end of at most this length still fits is tested at once, without another thread.
QUICK_SYMBOLS = 64
#: How many symbols of a known end a token may have replaced, so that the rest of that end is the new one.
REPLACED_SYMBOLS = 8


@dataclass(frozen=True)
class End:
    """A text that completes an answer, and its tokens."""

    text: Symbols
    tokens: list[int]

    def without(self, symbols: int) -> End:
        """Return the end after its first token, which has so many symbols."""
        return End(self.text[symbols:], self.tokens[1:])


@dataclass(frozen=True)
class Ends:
    """Finds ends in one grammar. Safe to use from several threads."""

    #: The model's `LLTokenizer`.
    tokenizer: Any
    #: The control tokens of the vocabulary that the grammar contains beside bytes.
    controls: Sequence[int] = ()
    #: The text that ends an unquoted value of several lines.
    text_end: bytes = b""
    #: Whether an answer must have an end: if the grammar accepts an empty answer, no token is needed to end it.
    must_stop: bool = True

    def search(self, state: LLMatcher, most_tokens: int) -> End | None:
        """Search for the end of an answer in this state; return None if there is none, or none was found."""
        text = shortest_end(state, MOST_BYTES_PER_TOKEN * most_tokens, self.text_end)
        return None if text is None else self.of(text, state)

    def kept(self, end: End, written: Symbols, after: LLMatcher) -> End | None:
        """Return an end after a token without a search, if the token begins the known end or replaces a part."""
        if end.text[: len(written)] == written:
            return self.of(end.text[len(written) :], after)
        most = min(max(REPLACED_SYMBOLS, len(written)), len(end.text))
        for replaced in (*range(min(len(written), most), -1, -1), *range(len(written) + 1, most + 1)):
            rest = end.text[replaced:]
            if fits(rest, after):
                return end if replaced == 0 else self.of(rest, after)
        return None

    def of(self, text: Symbols, state: LLMatcher) -> End | None:
        """Return a completing text with its tokens, or None if the vocabulary does not have them."""
        tokens: list[int] = []
        for are_controls, run in groupby(text, lambda symbol: symbol >= FIRST_CONTROL):
            if are_controls:
                tokens += [self.controls[symbol - FIRST_CONTROL] for symbol in run]
            elif (part := self._tokens_of(bytes(run))) is not None:
                tokens += part
            else:
                return None
        tried = state.deep_copy()
        tried.consume_tokens(text)
        stops = tried.is_stopped() or not self.must_stop
        return End(text, tokens if stops else [*tokens, self.tokenizer.eos_token])

    def symbols(self, token: int) -> Symbols:
        if token in self.controls:
            return [FIRST_CONTROL + self.controls.index(token)]
        return list(self.tokenizer.decode_bytes([token]))

    def _tokens_of(self, text: bytes) -> list[int] | None:
        tokens: list[int] = self.tokenizer.tokenize_bytes(text)
        if self.tokenizer.decode_bytes(tokens) != text:  # some tokenizers insert a space at the beginning
            tokens = self.tokenizer.greedy_tokenize(text.decode(errors="replace"))
        return tokens if self.tokenizer.decode_bytes(tokens) == text else None


def fits(text: Symbols, state: LLMatcher) -> bool:
    """Return whether the text completes an answer in this state."""
    if state.validate_tokens(text) < len(text):
        return False
    tried = state.deep_copy()
    return bool(tried.consume_tokens(text)) and bool(tried.is_accepting())


@dataclass(frozen=True)
class Found:
    """What a search has found: the end now, and the state and the end after a token."""

    end: End | None
    token: int
    state: LLMatcher
    end_after: End | None


@dataclass
class Closing:
    """Tracks how one answer can be completed. While another thread runs `search`, no other method may be called."""

    ends: Ends
    #: The state of the grammar over bytes.
    state: LLMatcher
    #: How many tokens the answer may still have.
    left: int
    #: How to complete the answer from here; None if that is not known, or there is no way.
    end: End | None
    _needed: int = 0
    _replacement: int | None = None
    #: The tokens after which there was no end in a row, or since the end was known.
    _unknown: int = 0
    #: The last look ahead.
    _ahead: Found | None = field(default=None)

    def __post_init__(self) -> None:
        self._needed = len(self.end.tokens) if self.end else 0

    @property
    def forced(self) -> int | None:
        """The only token that may come next, or None if the model may choose."""
        end = self.end
        return end.tokens[0] if end is not None and end.tokens and len(end.tokens) == self.left else None

    def must_search(self, token: int) -> bool:
        """Return whether `replacement` can tell about a token only after a search."""
        if token == self.forced or (self._ahead is not None and self._ahead.token == token):
            return False
        if not self._is_near or self.end is None:
            often = self._is_near and self._unknown < UNKNOWN_TOKENS
            return often or self._unknown % SEARCH_EVERY_TOKENS == SEARCH_EVERY_TOKENS - 1
        written, begins = self.ends.symbols(token), self.end.tokens[:1] == [token]
        if not begins and len(self.end.text) > QUICK_SYMBOLS:
            return True
        after = self._after(written)
        end = self.end.without(len(written)) if begins else None
        if end is None and fits(self.end.text, after):
            end = self.end
        if end is not None:
            self._ahead = Found(self.end, token, after, end)
        return end is None

    def search(self, token: int) -> Found:
        """Search for the ends now and after a token. It may run on another thread."""
        end = self.end or self.ends.search(self.state, self.left)
        written = self.ends.symbols(token)
        after = self._after(written)
        end_after = self.ends.kept(end, written, after) if end is not None else None
        return Found(end, token, after, end_after or self.ends.search(after, self.left))

    def found(self, found: Found | None) -> None:
        """Take the result of a search, if there is one."""
        if found is not None:
            self.end, self._ahead = found.end, found

    def replay(self, tokens: Sequence[int]) -> None:
        """Advance by tokens as when they were chosen. It may run on another thread."""
        for token in tokens:
            if self.must_search(token):
                self.found(self.search(token))
            self.take(token)

    def replacement(self, token: int) -> int | None:
        """Return the token that must come instead of this one: after it no end would fit, but one fits now."""
        ahead, forced = self._ahead, self.forced
        if forced is not None:
            return None if token == forced else forced
        if not self._is_near or ahead is None or ahead.token != token:
            return None
        if ahead.end_after is not None and len(ahead.end_after.tokens) < self.left:
            return None
        fitting = self.end is not None and 0 < len(self.end.tokens) <= self.left
        return self.end.tokens[0] if self.end is not None and fitting else None

    def take(self, token: int) -> None:
        """Advance by a token."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.token == token:
            self.state, self.end = ahead.state, ahead.end_after
        else:
            written = self.ends.symbols(token)
            begins = self.end is not None and self.end.tokens[:1] == [token]
            self.end = self.end.without(len(written)) if self.end is not None and begins else None
            self.state.consume_tokens(written)
        self.left -= 1
        self._unknown = 0 if self.end is not None else self._unknown + 1
        if self.end is not None:
            self._needed = len(self.end.tokens)

    @property
    def _is_near(self) -> bool:
        return self.left <= NEAR_TIMES * self._needed + NEAR_TOKENS

    def _after(self, written: Symbols) -> LLMatcher:
        after = self.state.deep_copy()
        after.consume_tokens(written)
        return after
