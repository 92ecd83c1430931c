"""Applies the prompt cache's decisions to the model's KV cache."""

from __future__ import annotations

from collections.abc import Iterable

from inference.engine.backend import Backend
from inference.engine.prompt_cache import Copy, Forget, Operation, Park, Trim, Unpark


def apply_operations(operations: Iterable[Operation], backend: Backend) -> set[int]:
    """Apply all operations in their order; return the ids of the sequences whose prefix could not be restored."""
    lost: set[int] = set()
    for operation in operations:
        match operation:
            case Copy(source, target, length):
                if source in lost:
                    lost.add(target)
                else:
                    backend.copy_prefix(source, target, length)
            case Unpark(key, target, length):
                if not backend.unpark(key, target, length):
                    lost.add(target)
            case Trim(seq_id, length):
                backend.trim(seq_id, length)
            case Park(seq_id, key):
                backend.park(seq_id, key)
            case Forget(key):
                backend.forget(key)
    return lost
