"""What the engine asks of a grammar while it generates."""

from __future__ import annotations

from typing import Protocol


class Constraint(Protocol):
    """Restricts which tokens may come next (a grammar). One object per sequence, used by the engine's thread only."""

    def mask(self) -> bytes | None:
        """One bit per token of the vocabulary (1: allowed), or None when every token is."""

    def refuses(self, token: int) -> bool:
        """Whether a token that the mask allows leads too far: then a new mask allows what has to come instead."""

    def accept(self, token: int) -> None:
        """Advances by a chosen token."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow but the end."""
