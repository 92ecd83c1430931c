"""Collects the events of one engine step, so that the sink is called once with all of them."""

from __future__ import annotations

import time

from core.errors import LlmApiError
from core.messages import Timings, Usage
from inference.engine.running_sequence import Produced
from inference.engine.sequence import (
    ActiveSequence,
    FinishReason,
    SequenceAborted,
    SequenceDelta,
    SequenceEvent,
    SequenceFailed,
    SequenceFinished,
    SequenceStarted,
)


class StepEvents:
    """The events that the sink has not got yet, in the order in which they happened."""

    def __init__(self) -> None:
        self._events: list[SequenceEvent] = []

    def take(self) -> list[SequenceEvent]:
        """Return all events, and start an empty list."""
        events, self._events = self._events, []
        return events

    def started(self, sequence: ActiveSequence) -> None:
        name = sequence.request.sequence_id
        self._events.append(SequenceStarted(sequence_id=name, produced_at=time.time()))

    def produced(self, sequence: ActiveSequence, produced: Produced) -> None:
        """Add an event with new tokens, text or log probabilities, if there are any."""
        if produced.token_ids or produced.text or produced.reasoning or produced.logprobs:
            self._events.append(
                SequenceDelta(
                    sequence_id=sequence.request.sequence_id,
                    produced_at=time.time(),
                    text=produced.text,
                    token_ids=produced.token_ids,
                    logprobs=produced.logprobs,
                    reasoning=produced.reasoning,
                )
            )

    def finished(self, sequence: ActiveSequence, reason: FinishReason) -> None:
        now = time.time()
        scored = min(len(sequence.request.scored_token_ids), sequence.generated)
        self._events.append(
            SequenceFinished(
                sequence_id=sequence.request.sequence_id,
                produced_at=now,
                finish_reason=reason,
                usage=Usage(
                    sequence.prompt_length + scored,
                    sequence.generated - scored,
                    sequence.cached_tokens,
                    reasoning_tokens=sequence.reasoning_tokens,
                ),
                timings=_timings(sequence, now),
            )
        )

    def aborted(self, sequence_id: str, reason: str) -> None:
        self._events.append(SequenceAborted(sequence_id=sequence_id, produced_at=time.time(), reason=reason))

    def failed(self, sequence_id: str, error: LlmApiError) -> None:
        self._events.append(SequenceFailed(sequence_id=sequence_id, produced_at=time.time(), error=error))


def _timings(sequence: ActiveSequence, now: float) -> Timings:
    started = sequence.started_at or now
    first = sequence.first_token_at or now
    return Timings(
        queue_ms=1000 * (started - sequence.arrived_at),
        prompt_ms=1000 * (first - started),
        generation_ms=1000 * (now - first),
    )
