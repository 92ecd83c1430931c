"""Completes an answer before its tokens run out, because JSON or a call that is cut off is useless.

A second matcher follows the grammar byte by byte; over bytes it is cheap to search for a short text that completes the
answer (control tokens, which have no bytes, are symbols of their own there). As long as that text fits into the
remaining tokens, the model chooses freely. A token after which it would no longer fit is refused, and only the next
token of the completing text is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from llguidance import LLMatcher

from inference.grammars.shortest_end import FIRST_CONTROL, Symbols, shortest_end

#: The end is near if at most `NEAR_TIMES` times its tokens plus `NEAR_TOKENS` are left. Until then, the end is searched
#: for only every `SEARCH_EVERY_TOKENS` tokens.
NEAR_TIMES, NEAR_TOKENS = 2, 192
SEARCH_EVERY_TOKENS = 16
#: The tokens of a completing text have at most this many bytes on average.
MOST_BYTES_PER_TOKEN = 8


@dataclass(frozen=True)
class End:
    """A text that completes an answer, and its tokens."""

    text: Symbols
    tokens: list[int]


class Closing:
    """Tracks how one answer can be completed. Used by the engine's thread only."""

    def __init__(
        self,
        state: LLMatcher,
        tokenizer: Any,
        max_tokens: int,
        controls: Sequence[int] = (),
        text_end: bytes = b"",
    ) -> None:
        """Start at the beginning of an answer.

        Args:
            state: The initial state of the grammar over bytes.
            tokenizer: The model's `LLTokenizer`.
            max_tokens: The most tokens of the answer.
            controls: The control tokens of the vocabulary that the grammar contains beside bytes.
            text_end: The text that ends an unquoted value of several lines.
        """
        self._state = state
        self._tokenizer = tokenizer
        self._controls = controls
        self._text_end = text_end
        self._left = max_tokens
        #: If the grammar already accepts here, no closing tokens are needed.
        self._must_stop = not state.is_accepting()
        #: How to complete the answer from here; None if that is not known, or there is no way.
        self._end: End | None = self._search(state)
        self._needed = len(self._end.tokens) if self._end else 0
        self._refused = False
        #: The last result of `_look_ahead`: a token, and the state and the end after it.
        self._ahead: tuple[int, LLMatcher, End | None] | None = None

    @property
    def forced(self) -> int | None:
        """The only token that may come next, or None if the model may choose."""
        if self._end is None or not self._end.tokens or len(self._end.tokens) > self._left:
            return None
        return self._end.tokens[0] if self._refused or len(self._end.tokens) == self._left else None

    def refuses(self, token: int) -> bool:
        """Return whether no end would fit after the token, but one fits now: then `forced` must be taken instead."""
        if token == self.forced or not self._is_near:
            return False
        _, _, end = self._ahead = self._look_ahead(token)
        if end is not None and len(end.tokens) < self._left:
            return False
        if self._end is None:
            self._end = self._search(self._state)
        self._refused = True
        return self.forced is not None

    def take(self, token: int) -> None:
        """Advance by a token."""
        searches = self._is_near or self._left % SEARCH_EVERY_TOKENS == 0
        if self._ahead is None or self._ahead[0] != token:
            self._ahead = self._look_ahead(token, searches=searches)
        _, self._state, self._end = self._ahead
        self._ahead, self._refused = None, False
        self._left -= 1
        if self._end is not None:
            self._needed = len(self._end.tokens)

    @property
    def _is_near(self) -> bool:
        return self._left <= NEAR_TIMES * self._needed + NEAR_TOKENS

    def _look_ahead(self, token: int, *, searches: bool = True) -> tuple[int, LLMatcher, End | None]:
        written = self._symbols(token)
        after = self._state.deep_copy()
        after.consume_tokens(written)
        end = self._kept(token, written, after)
        return token, after, self._search(after) if end is None and searches else end

    def _kept(self, token: int, written: Symbols, after: LLMatcher) -> End | None:
        """Return the known end without a search, if the token begins it or does not change it, as most tokens do."""
        if self._end is None:
            return None
        if self._end.tokens and token == self._end.tokens[0]:
            return End(self._end.text[len(written) :], self._end.tokens[1:])
        if self._end.text[: len(written)] == written:
            return self._tokenized(self._end.text[len(written) :], after)
        tried = after.deep_copy()
        return self._end if tried.consume_tokens(self._end.text) and tried.is_accepting() else None

    def _search(self, state: LLMatcher) -> End | None:
        text = shortest_end(state, MOST_BYTES_PER_TOKEN * self._left, self._text_end)
        return None if text is None else self._tokenized(text, state)

    def _symbols(self, token: int) -> Symbols:
        if token in self._controls:
            return [FIRST_CONTROL + self._controls.index(token)]
        return list(self._tokenizer.decode_bytes([token]))

    def _tokenized(self, text: Symbols, state: LLMatcher) -> End | None:
        tokens: list[int] = []
        for are_controls, run in groupby(text, lambda symbol: symbol >= FIRST_CONTROL):
            if are_controls:
                tokens += [self._controls[symbol - FIRST_CONTROL] for symbol in run]
            elif (part := self._tokens_of(bytes(run))) is not None:
                tokens += part
            else:
                return None
        tried = state.deep_copy()
        tried.consume_tokens(text)
        stops = tried.is_stopped() or not self._must_stop
        return End(text, tokens if stops else [*tokens, self._tokenizer.eos_token])

    def _tokens_of(self, text: bytes) -> list[int] | None:
        tokens: list[int] = self._tokenizer.tokenize_bytes(text)
        if self._tokenizer.decode_bytes(tokens) != text:  # some tokenizers insert a space at the beginning
            tokens = self._tokenizer.greedy_tokenize(text.decode(errors="replace"))
        return tokens if self._tokenizer.decode_bytes(tokens) == text else None
