"""The port to a grammar that the engine uses while it generates."""

from __future__ import annotations

from typing import Protocol


class Constraint(Protocol):
    """Restricts which tokens may come next. One object per sequence, used by the engine's thread only."""

    def mask(self) -> bytes | None:
        """Return one bit per token of the vocabulary (1: allowed), or None if every token is allowed."""

    def refuses(self, token: int) -> bool:
        """Return whether a token that the mask allows leaves no room to complete the answer.

        Then `mask` allows only the token that must come instead.
        """

    def accept(self, token: int) -> None:
        """Advance by a chosen token."""

    @property
    def is_complete(self) -> bool:
        """Whether only the end of the answer may follow."""
