"""Tracks which prompts are parked: copied from the KV cache to main memory, where they cost the steps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference.engine.cache_operations import Forget, Operation, Park


@dataclass(slots=True)
class _Parked:
    tokens: list[int]
    used_at: int


class ParkedPrompts:
    """The tokens of the parked prompts. The least recently used are dropped first."""

    def __init__(self, most_tokens: int, window_tokens: int | None = None) -> None:
        self._most_tokens = most_tokens
        self._window_tokens = window_tokens
        self._parked: dict[int, _Parked] = {}
        self._clock = 0

    @property
    def token_count(self) -> int:
        """Tokens in main memory. Callable from any thread."""
        return sum(len(parked.tokens) for parked in list(self._parked.values()))

    def longest_prefix(self, tokens: Sequence[int]) -> tuple[int, int]:
        """Return the key of the prompt with the longest prefix that `tokens` can reuse, and the prefix's length.

        The last token is left to compute.
        """
        best, length = 0, 0
        for key, parked in self._parked.items():
            common = min(common_prefix(parked.tokens, tokens), len(tokens) - 1)
            if self._reusable(parked.tokens, common) > length:
                best, length = key, common
        return best, length

    def use(self, key: int) -> list[int]:
        """Return the tokens of a prompt, which then counts as recently used."""
        self._parked[key].used_at = self._tick()
        return self._parked[key].tokens

    def size(self, key: int) -> int:
        """Return the number of tokens of a prompt."""
        return len(self._parked[key].tokens)

    def park(self, seq_id: int, tokens: Sequence[int], keep: int | None = None) -> list[Operation]:
        """Record that a sequence is parked, unless it is already, and return what the backend has to do for it.

        The prompt under the key `keep` is not dropped; if there is no room beside it, nothing is parked.
        """
        room = self._most_tokens if keep is None else self._most_tokens - self.size(keep)
        if not tokens or len(tokens) > room:
            return []
        operations: list[Operation] = []
        for key, parked in list(self._parked.items()):
            common = common_prefix(parked.tokens, tokens)
            if common == self._reusable(parked.tokens, common) == len(tokens):
                parked.used_at = self._tick()
                return operations
            if common == self._reusable(tokens, common) == len(parked.tokens) and key != keep:
                operations.append(self._forget(key))
        operations += self._make_room(len(tokens), keep)
        key = self._tick()
        self._parked[key] = _Parked(list(tokens), key)
        return [*operations, Park(seq_id, key)]

    def clear(self) -> None:
        self._parked.clear()

    def _reusable(self, tokens: Sequence[int], length: int) -> int:
        return reusable_prefix(copied_from(len(tokens), self._window_tokens), length, self._window_tokens)

    def _make_room(self, tokens: int, keep: int | None) -> list[Operation]:
        operations: list[Operation] = []
        excess = self.token_count + tokens - self._most_tokens
        for key in sorted(self._parked, key=lambda key: self._parked[key].used_at):
            if excess <= 0:
                break
            if key != keep:
                excess -= len(self._parked[key].tokens)
                operations.append(self._forget(key))
        return operations

    def _forget(self, key: int) -> Forget:
        del self._parked[key]
        return Forget(key)

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


def copied_from(tokens: int, window_tokens: int | None) -> int:
    """Return the first position that a copy of a sequence holds in all layers, those with a sliding window included."""
    return 0 if window_tokens is None else max(0, tokens - window_tokens)


def reusable_prefix(first: int, length: int, window_tokens: int | None) -> int:
    """Return how many of the first `length` tokens of a sequence can be continued: all or none.

    `first` is the first position that is there in all layers.
    """
    return length if not first or window_tokens is None or length >= first + window_tokens else 0


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the length of the longest common prefix of two lists, by bisection: comparing slices is fast in C."""
    high = min(len(first), len(second))
    if not high or first[0] != second[0]:
        return 0
    if first[:high] == second[:high]:
        return high
    low = 1
    while high - low > 1:
        middle = (low + high) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle
    return low
