"""What other threads post to the engine's thread."""

from __future__ import annotations

import queue
from dataclasses import dataclass

from inference.engine.sequence import SequenceRequest


@dataclass(frozen=True, slots=True)
class Submit:
    """Queue this sequence; `arrived_at` is Unix time in seconds."""

    request: SequenceRequest
    arrived_at: float


@dataclass(frozen=True, slots=True)
class Abort:
    """Stop this sequence, if the engine has it."""

    sequence_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Searched:
    """The search that this sequence waits for is done."""

    sequence_id: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake the engine's thread, so that it looks at what has changed."""


Message = Submit | Abort | Searched | Wake


class Inbox:
    """Messages in the order of their arrival. Any thread may post; only the engine's thread takes."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def __len__(self) -> int:
        return self._queue.qsize()

    def post(self, message: Message) -> None:
        self._queue.put(message)

    def take(self, wait_seconds: float | None = None) -> list[Message]:
        """Take all messages that have arrived; with `wait_seconds`, wait that long for the first one."""
        messages: list[Message] = []
        try:
            messages.append(self._queue.get_nowait() if wait_seconds is None else self._queue.get(timeout=wait_seconds))
            while True:
                messages.append(self._queue.get_nowait())
        except queue.Empty:
            return messages
