"""The state of one sequence in a compiled grammar."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher

from core.errors import InternalError
from core.threads import let_others_go_first
from inference.grammars.closing import Closing, End, Ends, Found

#: How much the thread that searches yields to the engine.
SEARCH_NICENESS = 5


class GrammarConstraint:
    """A `Constraint` by a grammar; with `closing`, the answer is completed before its tokens run out."""

    def __init__(self, matcher: LLMatcher, closing: Closing | None, searches: Executor) -> None:
        """Start a sequence. `searches` runs the searches for its ends."""
        self._matcher = matcher
        self._closing = closing
        self._searches = searches
        self._search: Future[Found | None] | None = None
        #: The tokens that must come next, last one first: each mask in a long constant takes milliseconds.
        self._run: list[int] = []
        self._mask = b""

    def mask(self) -> bytes:
        if self._run:
            return only(self._mask, self._run[-1])
        self._mask = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise InternalError(f"The grammar cannot go on: {self._matcher.get_error()}")
        if int.from_bytes(self._mask).bit_count() == 1:
            self._run = self._matcher.compute_ff_tokens()[::-1]
        forced = self._closing.forced if self._closing and self._search is None else None
        return self._mask if forced is None or not self._allows(forced) else only(self._mask, forced)

    def check(self, token: int) -> Future[Any] | None:
        if self._closing is None:
            return None
        if self._search is not None:
            if not self._search.done():
                return self._search
            search, self._search = self._search, None
            if (error := search.exception()) is not None:
                raise InternalError(f"The end of the answer could not be searched for: {error}")
            self._closing.found(search.result())
        if self._closing.must_search(token):
            self._search = self._searches.submit(self._closing.search, token)
        return self._search

    def replacement(self, token: int) -> int | None:
        instead = self._closing.replacement(token) if self._closing else None
        return instead if instead is not None and self._allows(instead) else None

    def accept(self, token: int) -> None:
        self._consume(token)
        if self._run and self._run.pop() != token:
            self._run.clear()
        if self._closing:
            self._closing.take(token)

    def resume(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self._consume(token)
        if self._closing is not None:
            self._search = self._searches.submit(self._closing.replay, tokens)

    def _allows(self, token: int) -> bool:
        """Return whether the last mask allows a token: forced text may have to be written with other tokens."""
        if self._run:
            return token == self._run[-1]
        return bool(self._mask[token >> 3] >> (token & 7) & 1)

    def _consume(self, token: int) -> None:
        if not self._matcher.consume_token(token):
            raise InternalError(f"The grammar does not allow token {token}: {self._matcher.get_error()}")

    @property
    def is_complete(self) -> bool:
        return self._matcher.is_stopped() and not self._matcher.is_error()


@dataclass(frozen=True)
class Compiled:
    """A grammar over the model's vocabulary, and the same grammar over bytes."""

    matcher: LLMatcher
    bytewise: LLMatcher
    ends: Ends
    #: The end of the shortest answer, if it was found.
    first_end: End | None
    #: What its schemas say that it does not enforce, in the compiler's words.
    warnings: list[str]

    def constraint(self, max_tokens: int | None, searches: Executor) -> GrammarConstraint:
        """Return a state at the beginning; with `max_tokens`, the answer is completed within that many tokens."""
        closing = None
        if max_tokens:
            end = self.first_end if self.first_end and len(self.first_end.tokens) <= max_tokens else None
            closing = Closing(self.ends, self.bytewise.deep_copy(), max_tokens, end)
        return GrammarConstraint(self.matcher.deep_copy(), closing, searches)


def only(mask: bytes, token: int) -> bytes:
    """Return a mask that allows only one token."""
    narrowed = bytearray(len(mask))
    narrowed[token >> 3] = 1 << (token & 7)
    return bytes(narrowed)


def search_thread() -> ThreadPoolExecutor:
    """Return the thread that searches for the ends of all answers."""
    return ThreadPoolExecutor(1, "grammar-search", let_others_go_first, (SEARCH_NICENESS,))
