"""The port to a grammar that the engine uses while it generates."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol


class Constraint(Protocol):
    """Restricts which tokens may come next. One object per sequence, used by the engine's thread only."""

    def mask(self) -> bytes | None:
        """Return one bit per token of the vocabulary (1: allowed), or None if every token is allowed."""

    def check(self, token: int) -> Future[None] | None:
        """Check whether a token that the mask allows leaves room to complete the answer.

        Return None if `replacement` can tell at once. Otherwise another thread searches: when the future is done, call
        this again. No other method may be called until then.
        """

    def replacement(self, token: int) -> int | None:
        """Return the token that must come instead, or None if this one may come."""

    def accept(self, token: int) -> None:
        """Advance by a chosen token."""

    def resume(self, tokens: Sequence[int]) -> None:
        """Advance at the beginning by the tokens that an earlier attempt has chosen."""

    @property
    def is_complete(self) -> bool:
        """Whether only the end of the answer may follow."""


class ConstraintFactory(Protocol):
    """Creates the state of a grammar at its beginning."""

    def __call__(self, used_tokens: int = 0) -> Constraint:
        """Return the state, for an answer of which so many tokens come before what the grammar describes."""
