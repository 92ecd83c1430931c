"""Which tokens lie in the KV cache, under which sequence ids, and which of them a new prompt can take over.

Pure bookkeeping: it decides, and notes what the backend has to do in `operations`. A cell of the cache holds one token
at one position; sequences that share a prefix share its cells, so a shared prefix counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Copy:
    """Let `target` share the first `length` tokens of `source`."""

    source: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class Trim:
    """Remove what is behind the first `length` tokens of a sequence."""

    seq_id: int
    length: int


@dataclass(slots=True)
class _Entry:
    """One sequence id: the tokens under it, the cells they lie in, and when it was last of use."""

    tokens: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    in_use: bool = False
    used_at: int = 0


class PromptCache:
    """The KV cache's contents. Ids that are not in use keep their tokens until the room or the id is needed."""

    def __init__(
        self, sequences: int, cells: int, *, can_share: bool = True, most_idle_cells: int | None = None
    ) -> None:
        """`can_share` is false for models whose cache cannot be cut (recurrent ones): then nothing is taken over.

        `most_idle_cells` bounds what is kept as cached prompts (default: whatever is free).
        """
        self.cells = cells
        self._entries = [_Entry() for _ in range(sequences)]
        self._references = [0] * cells
        self._free = list(range(cells - 1, -1, -1))
        self._clock = 0
        self._can_share = can_share
        self._most_idle_cells = cells if most_idle_cells is None else most_idle_cells
        #: What the backend has to do, in this order, before the next step.
        self.operations: list[Copy | Trim] = []

    @property
    def free_cells(self) -> int:
        return len(self._free)

    @property
    def used_cells(self) -> int:
        return self.cells - len(self._free)

    @property
    def idle_sequences(self) -> int:
        """Sequence ids that `acquire` can give out."""
        return sum(not entry.in_use for entry in self._entries)

    def tokens(self, seq_id: int) -> list[int]:
        """The tokens under a sequence id."""
        return self._entries[seq_id].tokens

    def best_prefix(self, tokens: Sequence[int]) -> tuple[int | None, int]:
        """The id that shares the longest prefix with `tokens`, and its length; ids in use count as well."""
        best: int | None = None
        length = 0
        if self._can_share:
            for seq_id, entry in enumerate(self._entries):
                common = common_prefix(entry.tokens, tokens)
                if common > length:
                    best, length = seq_id, common
        return best, length

    def acquire(self, tokens: list[int]) -> tuple[int, int]:
        """Takes a free id for `tokens`: its number, and how many of `tokens` are in the cache under it.

        At least the last token is left to compute, because its logits are needed. `idle_sequences` must not be 0.
        """
        source, length = self.best_prefix(tokens)
        length = min(length, len(tokens) - 1)
        target = self._target(source, length)
        if target == source:
            self.truncate(target, length)
        else:
            self.truncate(target, 0)
            if source is not None and length:
                self._share(source, target, length)
        self._entries[target].in_use = True
        self._touch(target)
        return target, length

    def extend(self, seq_id: int, tokens: Sequence[int]) -> None:
        """Notes that the backend has computed `tokens` behind those it has. `free_cells` must suffice."""
        entry = self._entries[seq_id]
        entry.tokens.extend(tokens)
        for _ in tokens:
            cell = self._free.pop()
            self._references[cell] = 1
            entry.cells.append(cell)

    def truncate(self, seq_id: int, length: int) -> None:
        """Removes what is behind the first `length` tokens of a sequence."""
        entry = self._entries[seq_id]
        if length >= len(entry.tokens):
            return
        for cell in entry.cells[length:]:
            self._references[cell] -= 1
            if not self._references[cell]:
                self._free.append(cell)
        del entry.cells[length:], entry.tokens[length:]
        self.operations.append(Trim(seq_id, length))

    def release(self, seq_id: int) -> None:
        """Gives an id back. What it holds stays as a cached prompt."""
        self._entries[seq_id].in_use = False
        self._touch(seq_id)
        if not self._can_share:
            self.truncate(seq_id, 0)
        self._drop_excess(seq_id)

    def can_make_room(self, cells: int) -> bool:
        """Whether `make_room` would succeed; drops nothing."""
        if len(self._free) >= cells:
            return True
        needed = set().union(*(entry.cells for entry in self._entries if entry.in_use))
        return self.cells - len(needed) >= cells

    def drop_idle(self) -> bool:
        """Drops all cached prompts; whether there were any."""
        before = len(self._free)
        for seq_id, entry in enumerate(self._entries):
            if not entry.in_use:
                self.truncate(seq_id, 0)
        return len(self._free) > before

    def make_room(self, cells: int) -> bool:
        """Whether `cells` cells are free, after dropping cached prompts, the least recently used first."""
        while len(self._free) < cells:
            idle = [at for at, entry in enumerate(self._entries) if not entry.in_use and entry.tokens]
            if not idle:
                return False
            self.truncate(min(idle, key=lambda at: self._entries[at].used_at), 0)
        return True

    def clear(self) -> None:
        """Forgets everything: the backend was reset."""
        for entry in self._entries:
            entry.tokens, entry.cells, entry.in_use = [], [], False
        self._references = [0] * self.cells
        self._free = list(range(self.cells - 1, -1, -1))
        self.operations.clear()

    def take_operations(self) -> list[Copy | Trim]:
        """What the backend has to do now; handed out once."""
        operations, self.operations = self.operations, []
        return operations

    def _drop_excess(self, latest: int) -> None:
        """Drops cached prompts beyond the bound, the least recently used first, but not the latest one."""
        idle = [at for at, entry in enumerate(self._entries) if not entry.in_use and entry.tokens]
        excess = sum(len(self._entries[at].tokens) for at in idle) - self._most_idle_cells
        for at in sorted(idle, key=lambda at: self._entries[at].used_at):
            if excess <= 0 or at == latest:
                return
            excess -= len(self._entries[at].tokens)
            self.truncate(at, 0)

    def _target(self, source: int | None, length: int) -> int:
        """Which free id to take: the source itself if little of it would be lost, else the one of least use."""
        if source is not None and not self._entries[source].in_use and 2 * length > len(self._entries[source].tokens):
            return source
        idle = [at for at, entry in enumerate(self._entries) if not entry.in_use]
        others = [at for at in idle if at != source] or idle
        return min(others, key=lambda at: (bool(self._entries[at].tokens), self._entries[at].used_at))

    def _share(self, source: int, target: int, length: int) -> None:
        giver, taker = self._entries[source], self._entries[target]
        taker.tokens, taker.cells = giver.tokens[:length], giver.cells[:length]
        for cell in taker.cells:
            self._references[cell] += 1
        self.operations.append(Copy(source, target, length))
        self._touch(source)

    def _touch(self, seq_id: int) -> None:
        self._clock += 1
        self._entries[seq_id].used_at = self._clock


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest common prefix of two lists, by bisection (comparing slices is fast in C)."""
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
