"""Tracks which tokens the KV cache holds under which sequence ids. Decides how a prompt reuses what is there.

Pure bookkeeping: a cache lists in `operations` what the backend has to do. There is one class for each layout of the KV
cache: `UnifiedCache` and `StreamCache`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from inference.engine.cache_operations import Operation, Trim
from inference.engine.parked_prompts import ParkedPrompts


class PromptCache(ABC):
    """The contents of the KV cache, and the parked prompts."""

    def __init__(self, cells: int, *, can_share: bool, most_parked_tokens: int, window_tokens: int | None) -> None:
        """Create an empty cache of `cells` tokens.

        `can_share` is false for models whose cache cannot be trimmed (recurrent ones): then no prefix is reused.
        `most_parked_tokens` bounds what is kept of finished sequences in main memory. `window_tokens` is the backend's.
        """
        self.cells = cells
        self._can_share = can_share
        self._window_tokens = window_tokens
        self._parked = ParkedPrompts(most_parked_tokens if can_share else 0, window_tokens)
        #: What the backend has to do before the next step, in this order.
        self.operations: list[Operation] = []

    @property
    @abstractmethod
    def used_cells(self) -> int:
        """Cells that running sequences occupy. Callable from any thread."""

    @property
    def parked_tokens(self) -> int:
        """Tokens kept in main memory. Callable from any thread."""
        return self._parked.token_count

    @property
    @abstractmethod
    def idle_sequences(self) -> int:
        """The number of sequence ids that `acquire` can still return."""

    @abstractmethod
    def tokens(self, seq_id: int) -> list[int]:
        """Return the tokens under a sequence id."""

    @abstractmethod
    def missing_cells(self, tokens: Sequence[int]) -> int:
        """Return how many free cells `tokens` need besides those that they would share with a running sequence."""

    @abstractmethod
    def has_room(self, cells: int) -> bool:
        """Return whether the running sequences can grow by `cells` tokens in all."""

    @abstractmethod
    def acquire(self, tokens: list[int]) -> tuple[int, int]:
        """Reserve a free id for `tokens`; return the id, and how many of `tokens` the cache already holds under it.

        The last token is always left to compute, because its logits are needed. `idle_sequences` must not be 0.
        """

    @abstractmethod
    def reuse_more(self, seq_id: int, tokens: list[int], least: int) -> tuple[int, int]:
        """Reuse a longer prefix, which has been computed since `acquire`, if it is at least `least` tokens longer.

        Return the sequence's id from now on, and how many of `tokens` the cache holds under it.
        """

    @abstractmethod
    def will_share(self, tokens: int) -> bool:
        """Return whether a running sequence of so many tokens can give others a prefix of any length."""

    def parks_prompt(self, tokens: int) -> bool:
        """Return whether `park_prompt` is worth it for a prompt of so many tokens: only if it exceeds a sliding window.

        The sequence is then of no use for the same prompt any more once the window has moved on.
        """
        return self._can_share and self._window_tokens is not None and tokens > self._window_tokens

    def park_prompt(self, seq_id: int) -> None:
        """Copy a running sequence to main memory as it is now."""
        self.operations += self._parked.park(seq_id, self.tokens(seq_id))

    @abstractmethod
    def extend(self, seq_id: int, tokens: Sequence[int]) -> None:
        """Record that the backend has appended `tokens` to a sequence. There must be room for them."""

    @abstractmethod
    def truncate(self, seq_id: int, length: int) -> None:
        """Remove all but the first `length` tokens of a sequence."""

    @abstractmethod
    def release(self, seq_id: int) -> None:
        """Release an id, and keep its tokens for prompts that begin with them."""

    @abstractmethod
    def discard(self, seq_id: int) -> None:
        """Release an id, and drop its tokens."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything, because the backend was reset."""

    def compact(self) -> dict[int, int]:
        """Move sequences so that a step computes them faster. Return their new ids, by the old ones."""
        return {}

    def take_operations(self) -> list[Operation]:
        """Return what the backend has to do now, and empty the list."""
        operations, self.operations = self.operations, []
        return operations

    def _trim(self, seq_id: int, length: int) -> None:
        self.operations.append(Trim(seq_id, length))
