"""What the engine has said and the publisher has not emitted yet: urgent events at once, text in portions.

What a token costs beyond the engine is almost all system calls: it is written to Redis, from there to the API, and from
there to the client, and on a machine whose cores all compute each of them holds up the next token. So tokens that
follow each other faster than an eye can read go together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from inference.engine.sequence import SequenceDelta, SequenceEvent


class Outbox:
    """Steps of the engine, from its thread to that of the publisher.

    Everything but text that goes on is due at once: what a sequence says first, its start and its end. Text that goes
    on is due with the first step that is produced `interval` seconds or more after the last portion; should none come,
    after twice that time.
    """

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._events: list[SequenceEvent] = []
        self._speaking: set[str] = set()
        self._is_due = False
        self._closed = False
        self._taken_at = -2 * interval
        self._changed = threading.Condition()

    def put(self, step: Sequence[SequenceEvent]) -> None:
        """Takes over what happened in one step; something must have."""
        urgent = [self._is_urgent(event) for event in step]
        with self._changed:
            self._events.extend(step)
            self._is_due |= any(urgent) or self._clock() - self._taken_at >= self._interval
            if self._is_due:
                self._changed.notify()

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self) -> list[SequenceEvent] | None:
        """Waits for the next portion: never empty, with the text of each sequence in one piece; None after the last."""
        with self._changed:
            while not (self._is_due or self._closed):
                left = self._taken_at + 2 * self._interval - self._clock()
                if left <= 0 and self._events:
                    break
                self._changed.wait(left if left > 0 else None)
            events, self._events = self._events, []
            self._is_due = False
            self._taken_at = self._clock()
        return joined(events) or None

    def _is_urgent(self, event: SequenceEvent) -> bool:
        if not isinstance(event, SequenceDelta):
            self._speaking.discard(event.sequence_id)
            return True
        is_first = bool(event.text) and event.sequence_id not in self._speaking
        if is_first:
            self._speaking.add(event.sequence_id)
        return is_first


def joined(events: Sequence[SequenceEvent]) -> list[SequenceEvent]:
    """The events with consecutive deltas of a sequence made one, which has the time of the first."""
    result: list[SequenceEvent] = []
    places: dict[str, int] = {}
    for event in events:
        name = event.sequence_id
        if not isinstance(event, SequenceDelta):
            places.pop(name, None)
            result.append(event)
        elif name in places:
            result[places[name]] = _together(result[places[name]], event)
        else:
            places[name] = len(result)
            result.append(event)
    return result


def _together(first: SequenceEvent, second: SequenceDelta) -> SequenceDelta:
    if not isinstance(first, SequenceDelta):
        raise TypeError(f"{first!r} is no text")
    return replace(
        first,
        text=first.text + second.text,
        token_ids=[*first.token_ids, *second.token_ids],
        logprobs=[*first.logprobs, *second.logprobs],
    )
