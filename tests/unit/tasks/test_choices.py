"""How engine events become job events, and how another worker resumes from them."""

from __future__ import annotations

from dataclasses import replace

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
from tasks.jobs.job_record import JobRecord
from tasks.jobs.kinds import CHAT
from tasks.jobs.queues import Tasks
from tasks.jobs.records import JobRecords
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


def test_text_keeps_the_time_at_which_the_engine_produced_it(run: SequenceRun) -> None:
    [event] = translate(run, delta(run, "Hi", 7, index=1))
    assert isinstance(event, events.TextDelta)
    assert (event.text, event.token_ids, event.index, event.created) == ("Hi", [7], 1, 5.0)


def test_tokens_without_text_are_emitted_with_the_next_text(run: SequenceRun) -> None:
    assert translate(run, delta(run, "", 1)) == []
    assert translate(run, delta(run, "", 2)) == []
    [event] = translate(run, delta(run, "é", 3))
    assert isinstance(event, events.TextDelta) and event.token_ids == [1, 2, 3]


def test_started_is_emitted_once_for_all_choices(run: SequenceRun) -> None:
    started = [translate(run, SequenceStarted(sequence_id=run.sequence_id(index), produced_at=1.0)) for index in (0, 1)]
    assert [len(job_events) for job_events in started] == [1, 0]


def test_a_run_has_ended_when_all_choices_are_finished(run: SequenceRun) -> None:
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


def test_a_failure_ends_the_whole_run(run: SequenceRun) -> None:
    failed = SequenceFailed(sequence_id=run.sequence_id(0), produced_at=1.0, error=InternalError("broken"))
    assert translate(run, failed) == []
    assert run.has_ended and run.error is not None


def test_an_abort_ends_the_whole_run_and_keeps_its_reason(run: SequenceRun) -> None:
    translate(run, SequenceAborted(sequence_id=run.sequence_id(0), produced_at=1.0, reason="deadline"))
    assert run.has_ended and run.aborted == "deadline"


def test_the_next_attempt_resumes_from_the_replay() -> None:
    fields = {"job_id": "job-1", "attempt": 1}
    replayed: list[events.AnyEvent] = [
        events.Accepted(**fields, model="m"),
        events.TextDelta(**fields, text="Hel", token_ids=[1, 2]),
        events.TextDelta(**fields, text="lo", token_ids=[3]),
        events.TextDelta(**fields, text="B", token_ids=[9], index=1),
        events.ChoiceFinished(**fields, finish_reason="stop", index=1),
    ]
    first, second = ResumeState(accepted=True, replayed=replayed).choices(2)
    assert (first.result.text, first.token_ids, first.finished) == ("Hello", [1, 2, 3], False)
    assert (second.result.text, second.finished) == ("B", True)


def thought(run: SequenceRun, reasoning: str, text: str, *tokens: int) -> SequenceDelta:
    return replace(delta(run, text, *tokens), reasoning=reasoning)


def test_what_is_thought_comes_before_the_text_of_the_same_step_and_has_its_tokens(run: SequenceRun) -> None:
    assert translate(run, delta(run, "", 1)) == []
    first, second = translate(run, thought(run, "Hm.", "Yes", 2, 3))
    assert isinstance(first, events.ReasoningDelta) and (first.text, first.token_ids) == ("Hm.", [1, 2, 3])
    assert isinstance(second, events.TextDelta) and (second.text, second.token_ids) == ("Yes", [])
    assert (run.choices[0].result.reasoning, run.choices[0].result.text) == ("Hm.", "Yes")


def test_another_worker_resumes_after_what_was_thought(run: SequenceRun) -> None:
    emitted = [*translate(run, thought(run, "Hm", "", 1)), *translate(run, thought(run, ".", "Yes", 2, 3))]
    accepted = events.Accepted(job_id="job-1", attempt=1, model="m")
    choice, other = ResumeState.from_events([accepted, *emitted]).choices(2)
    assert (choice.result.reasoning, choice.result.text, choice.token_ids) == ("Hm.", "Yes", [1, 2, 3])
    assert (choice.resume_text_length, other.result.reasoning, other.token_ids) == (3, "", [])
