"""The queue between the engine and the publisher. It releases urgent events at once, and text in portions.

Outside the engine, a token costs mostly system calls: it is written to Redis, from there to the API, and from there to
the client. If all cores are busy, each call delays the next token. So tokens that follow each other faster than a
person can read are published together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from inference.engine.sequence import SequenceDelta, SequenceEvent


class Outbox:
    """Queues the events of engine steps, from the engine's thread to the publisher's.

    The start, the first text and the end of a sequence are due at once. Further text is due with the first step that
    comes `interval` seconds or more after the last portion. If no step comes, it is due after twice that time.
    """

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._events: list[SequenceEvent] = []
        #: The sequences that have produced text.
        self._with_text: set[str] = set()
        self._is_due = False
        self._closed = False
        self._taken_at = -2 * interval
        self._changed = threading.Condition()

    def put(self, step: Sequence[SequenceEvent]) -> None:
        """Add the events of one step, of which there is at least one."""
        urgent = [self._is_urgent(event) for event in step]
        with self._changed:
            self._events.extend(step)
            self._is_due |= any(urgent) or self._clock() - self._taken_at >= self._interval
            if self._is_due:
                self._changed.notify()

    def close(self) -> None:
        """Make `take` return None once the queue is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self) -> list[SequenceEvent] | None:
        """Wait for the next portion, and return it with consecutive deltas merged. Return None after the last one."""
        with self._changed:
            while not (self._is_due or self._closed):
                left = self._taken_at + 2 * self._interval - self._clock()
                if left <= 0 and self._events:
                    break
                self._changed.wait(left if left > 0 else None)
            events, self._events = self._events, []
            self._is_due = False
            self._taken_at = self._clock()
        return merge_deltas(events) or None

    def _is_urgent(self, event: SequenceEvent) -> bool:
        if not isinstance(event, SequenceDelta):
            self._with_text.discard(event.sequence_id)
            return True
        is_first = bool(event.text or event.reasoning) and event.sequence_id not in self._with_text
        if is_first:
            self._with_text.add(event.sequence_id)
        return is_first


def merge_deltas(events: Sequence[SequenceEvent]) -> list[SequenceEvent]:
    """Return the events with consecutive deltas of a sequence merged into one, which has the time of the first."""
    result: list[SequenceEvent] = []
    #: The index in `result` of the delta that the next delta of a sequence is merged into.
    indices: dict[str, int] = {}
    for event in events:
        sequence_id = event.sequence_id
        if not isinstance(event, SequenceDelta):
            indices.pop(sequence_id, None)
            result.append(event)
        elif sequence_id in indices and not (event.reasoning and _text_of(result[indices[sequence_id]])):
            index = indices[sequence_id]
            result[index] = _merged(result[index], event)
        else:
            indices[sequence_id] = len(result)
            result.append(event)
    return result


def _text_of(event: SequenceEvent) -> str:
    """Return the text of a delta: what is thought after it does not belong before it."""
    return event.text if isinstance(event, SequenceDelta) else ""


def _merged(first: SequenceEvent, second: SequenceDelta) -> SequenceDelta:
    if not isinstance(first, SequenceDelta):
        raise TypeError(f"{first!r} is not a delta")
    return replace(
        first,
        text=first.text + second.text,
        reasoning=first.reasoning + second.reasoning,
        token_ids=[*first.token_ids, *second.token_ids],
        logprobs=[*first.logprobs, *second.logprobs],
    )
