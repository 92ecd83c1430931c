"""What a prompt cache asks the backend to do with its KV cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inference.engine.backend import Backend


@dataclass(frozen=True, slots=True)
class Copy:
    """Give the empty sequence `target` the first `length` tokens of `source`."""

    source: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class Trim:
    """Remove all but the first `length` tokens of a sequence."""

    seq_id: int
    length: int


@dataclass(frozen=True, slots=True)
class Park:
    """Copy a sequence to main memory, under the number `key`."""

    seq_id: int
    key: int


@dataclass(frozen=True, slots=True)
class Unpark:
    """Copy the first `length` tokens parked under `key` to the empty sequence `target`; they stay parked."""

    key: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop what is parked under `key`."""

    key: int


Operation = Copy | Trim | Park | Unpark | Forget


def apply_operations(operations: Iterable[Operation], backend: Backend) -> set[int]:
    """Apply all operations in their order; return the ids of the sequences whose prefix could not be restored."""
    lost: set[int] = set()
    for operation in operations:
        match operation:
            case Copy(source, target, length):
                if source in lost or not backend.copy_prefix(source, target, length):
                    lost.add(target)
            case Unpark(key, target, length):
                if not backend.unpark(key, target, length):
                    lost.add(target)
            case Trim(seq_id, length):
                if not backend.trim(seq_id, length):
                    lost.add(seq_id)
            case Park(seq_id, key):
                backend.park(seq_id, key)
            case Forget(key):
                backend.forget(key)
    return lost
