"""How engine events become job events, and how another worker goes on from them."""

from __future__ import annotations

import pytest

from core import events
from core.errors import InternalError
from core.messages import Timings, Usage
from inference.engine.sequence import (
    FinishReason,
    SequenceAborted,
    SequenceDelta,
    SequenceFailed,
    SequenceFinished,
    SequenceStarted,
)
from tasks.chat.choices import Flight, translate
from tasks.chat.resume_state import Past
from tasks.jobs.names import Task
from tasks.jobs.records import JobRecord, JobRecords
from tasks.jobs.runner import RunningJob


@pytest.fixture
def flight() -> Flight:
    record = JobRecord("job-1", "chat", Task.GENERATE, 1, "taken", False, "", 0.0, None, False, False)
    records: JobRecords = object()  # type: ignore[assignment]
    return Flight(RunningJob(record, b"{}", records), Past(accepted=False, told=[]).choices(2))


def delta(flight: Flight, text: str, *tokens: int, index: int = 0) -> SequenceDelta:
    return SequenceDelta(
        sequence_id=flight.sequence_id(index), produced_at=5.0, text=text, token_ids=list(tokens), logprobs=[]
    )


def test_text_keeps_the_time_at_which_the_engine_made_it(flight: Flight) -> None:
    [event] = translate(flight, delta(flight, "Hi", 7, index=1))
    assert isinstance(event, events.TextDelta)
    assert (event.text, event.token_ids, event.index, event.created) == ("Hi", [7], 1, 5.0)


def test_tokens_without_text_travel_with_the_next_text(flight: Flight) -> None:
    assert translate(flight, delta(flight, "", 1)) == []
    assert translate(flight, delta(flight, "", 2)) == []
    [event] = translate(flight, delta(flight, "é", 3))
    assert isinstance(event, events.TextDelta) and event.token_ids == [1, 2, 3]


def test_started_is_told_once_for_all_choices(flight: Flight) -> None:
    started = [
        translate(flight, SequenceStarted(sequence_id=flight.sequence_id(index), produced_at=1.0)) for index in (0, 1)
    ]
    assert [len(told) for told in started] == [1, 0]


def test_a_job_has_landed_when_all_choices_are_finished(flight: Flight) -> None:
    for index in (0, 1):
        assert not flight.landed
        finished = SequenceFinished(
            sequence_id=flight.sequence_id(index),
            produced_at=1.0,
            finish_reason=FinishReason.STOP,
            usage=Usage(3, 2),
            timings=Timings(),
        )
        [event] = translate(flight, finished)
        assert isinstance(event, events.ChoiceFinished) and event.finish_reason == "stop"
    assert flight.landed


def test_a_failure_or_an_abort_lands_the_whole_job(flight: Flight) -> None:
    failed = SequenceFailed(sequence_id=flight.sequence_id(0), produced_at=1.0, error=InternalError("broken"))
    assert translate(flight, failed) == []
    assert flight.landed and flight.error is not None


def test_an_abort_keeps_its_reason(flight: Flight) -> None:
    translate(flight, SequenceAborted(sequence_id=flight.sequence_id(0), produced_at=1.0, reason="deadline"))
    assert flight.landed and flight.aborted == "deadline"


def test_the_next_attempt_goes_on_from_what_was_told() -> None:
    base = {"job_id": "job-1", "attempt": 1}
    told: list[events.AnyEvent] = [
        events.Accepted(**base, model="m"),
        events.TextDelta(**base, text="Hel", token_ids=[1, 2]),
        events.TextDelta(**base, text="lo", token_ids=[3]),
        events.TextDelta(**base, text="B", token_ids=[9], index=1),
        events.ChoiceFinished(**base, finish_reason="stop", index=1),
    ]
    first, second = Past(accepted=True, told=told).choices(2)
    assert (first.result.text, first.token_ids, first.finished) == ("Hello", [1, 2, 3], False)
    assert (second.result.text, second.finished) == ("B", True)
