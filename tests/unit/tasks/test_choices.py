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
from tasks.chat.choices import SequenceRun, translate
from tasks.chat.resume_state import ResumeState
from tasks.jobs.kinds import CHAT
from tasks.jobs.queues import Tasks
from tasks.jobs.records import JobRecord, JobRecords
from tasks.jobs.runner import RunningJob


@pytest.fixture
def run() -> SequenceRun:
    record = JobRecord("job-1", CHAT, Tasks.GENERATE, 1, "taken", False, "", 0.0, None, False, False)
    records: JobRecords = object()  # type: ignore[assignment]
    return SequenceRun(RunningJob(record, b"{}", records), ResumeState(accepted=False, replayed=[]).choices(2))


def delta(run: SequenceRun, text: str, *tokens: int, index: int = 0) -> SequenceDelta:
    return SequenceDelta(
        sequence_id=run.sequence_id(index), produced_at=5.0, text=text, token_ids=list(tokens), logprobs=[]
    )


def test_text_keeps_the_time_at_which_the_engine_made_it(run: SequenceRun) -> None:
    [event] = translate(run, delta(run, "Hi", 7, index=1))
    assert isinstance(event, events.TextDelta)
    assert (event.text, event.token_ids, event.index, event.created) == ("Hi", [7], 1, 5.0)


def test_tokens_without_text_travel_with_the_next_text(run: SequenceRun) -> None:
    assert translate(run, delta(run, "", 1)) == []
    assert translate(run, delta(run, "", 2)) == []
    [event] = translate(run, delta(run, "é", 3))
    assert isinstance(event, events.TextDelta) and event.token_ids == [1, 2, 3]


def test_started_is_told_once_for_all_choices(run: SequenceRun) -> None:
    started = [translate(run, SequenceStarted(sequence_id=run.sequence_id(index), produced_at=1.0)) for index in (0, 1)]
    assert [len(emitted) for emitted in started] == [1, 0]


def test_a_job_has_landed_when_all_choices_are_finished(run: SequenceRun) -> None:
    for index in (0, 1):
        assert not run.has_ended
        finished = SequenceFinished(
            sequence_id=run.sequence_id(index),
            produced_at=1.0,
            finish_reason=FinishReason.STOP,
            usage=Usage(3, 2),
            timings=Timings(),
        )
        [event] = translate(run, finished)
        assert isinstance(event, events.ChoiceFinished) and event.finish_reason == "stop"
    assert run.has_ended


def test_a_failure_or_an_abort_lands_the_whole_job(run: SequenceRun) -> None:
    failed = SequenceFailed(sequence_id=run.sequence_id(0), produced_at=1.0, error=InternalError("broken"))
    assert translate(run, failed) == []
    assert run.has_ended and run.error is not None


def test_an_abort_keeps_its_reason(run: SequenceRun) -> None:
    translate(run, SequenceAborted(sequence_id=run.sequence_id(0), produced_at=1.0, reason="deadline"))
    assert run.has_ended and run.aborted == "deadline"


def test_the_next_attempt_goes_on_from_what_was_told() -> None:
    base = {"job_id": "job-1", "attempt": 1}
    emitted: list[events.AnyEvent] = [
        events.Accepted(**base, model="m"),
        events.TextDelta(**base, text="Hel", token_ids=[1, 2]),
        events.TextDelta(**base, text="lo", token_ids=[3]),
        events.TextDelta(**base, text="B", token_ids=[9], index=1),
        events.ChoiceFinished(**base, finish_reason="stop", index=1),
    ]
    first, second = ResumeState(accepted=True, replayed=emitted).choices(2)
    assert (first.result.text, first.token_ids, first.finished) == ("Hello", [1, 2, 3], False)
    assert (second.result.text, second.finished) == ("B", True)
