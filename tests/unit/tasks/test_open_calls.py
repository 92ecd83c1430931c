"""The arguments of required calls are emitted while the model writes them, and an interrupted call is continued."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core import events
from core.messages import Timings, Usage
from inference.engine.sequence import FinishReason, SequenceDelta, SequenceFinished
from inference.grammars.call_formats import (
    BareFormat,
    CallFormat,
    FunctionTagFormat,
    MistralListFormat,
    MistralNamedFormat,
    TaggedFormat,
)
from tasks.chat.choices import SequenceRun, translate
from tasks.chat.resume_state import ResumeState
from tasks.jobs.job_record import JobRecord
from tasks.jobs.kinds import CHAT
from tasks.jobs.queues import Tasks
from tasks.jobs.records import JobRecords
from tasks.jobs.runner import RunningJob

ARGUMENTS = json.dumps({"path": 'a "quoted" \\ }]{ name', "content": ["€🙂" * 50, {"deep": [1, 2, {}]}]})
TOOLS = [{"type": "function", "function": {"name": "write_file", "parameters": {"type": "object"}}}]
WRITTEN: list[tuple[CallFormat, str]] = [
    (TaggedFormat(), f'<tool_call>\n{{"name": "write_file", "arguments": {ARGUMENTS}}}\n</tool_call>'),
    (BareFormat(), f'{{"name": "write_file", "parameters": {ARGUMENTS}}}'),
    (FunctionTagFormat(), f"<function=write_file>{ARGUMENTS}</function>"),
    (MistralNamedFormat(), f"[TOOL_CALLS]write_file[ARGS]{ARGUMENTS}"),
    (MistralNamedFormat(has_ids=True), f"[TOOL_CALLS]write_file[CALL_ID]123abcXYZ[ARGS]{ARGUMENTS}"),
]
IDS = [f"{type(form).__name__}-{at}" for at, (form, _) in enumerate(WRITTEN)]
TWICE = WRITTEN[0][1] + "\n" + WRITTEN[0][1]


def run_of(form: CallFormat, resume: ResumeState | None = None, attempt: int = 1) -> SequenceRun:
    record = JobRecord("job-1", CHAT, Tasks.GENERATE, attempt, "taken", False, "", 0.0, None, False, False)
    records: JobRecords = object()  # type: ignore[assignment]
    state = resume or ResumeState(accepted=False, replayed=[])
    choices = state.choices(1, lambda: form.parser(TOOLS))
    choices[0].streams_calls = True
    return SequenceRun(RunningJob(record, b"{}", records), choices)


def feed(run: SequenceRun, text: str, *, first_token: int = 0) -> list[events.AnyEvent]:
    """Send a text, one token for each three characters."""
    emitted: list[events.AnyEvent] = []
    for number, at in enumerate(range(0, len(text), 3), first_token):
        delta = {"text": text[at : at + 3], "token_ids": [number], "logprobs": []}
        emitted += translate(run, SequenceDelta(sequence_id=run.sequence_id(0), produced_at=1.0, **delta))
    return emitted


def finish(run: SequenceRun, reason: FinishReason = FinishReason.STOP) -> list[events.AnyEvent]:
    fields: dict[str, Any] = {"finish_reason": reason, "usage": Usage(), "timings": Timings()}
    return translate(run, SequenceFinished(sequence_id=run.sequence_id(0), produced_at=1.0, **fields))


def deltas_of(emitted: list[events.AnyEvent]) -> list[events.ToolCallDelta]:
    return [event for event in emitted if isinstance(event, events.ToolCallDelta)]


def joined(emitted: list[events.AnyEvent]) -> list[tuple[str | None, str]]:
    """Return the name and the arguments of each call."""
    calls: list[tuple[str | None, str]] = []
    for event in deltas_of(emitted):
        if event.id is not None:
            assert event.call_index == len(calls)
            calls.append((event.name, ""))
        assert event.call_index == len(calls) - 1
        calls[-1] = (calls[-1][0], calls[-1][1] + event.arguments)
    return calls


@pytest.mark.parametrize(("form", "text"), WRITTEN, ids=IDS)
def test_arguments_are_emitted_while_they_are_written(form: CallFormat, text: str) -> None:
    run = run_of(form)
    emitted = feed(run, text)
    assert len(deltas_of(emitted)) > len(ARGUMENTS) / 4
    emitted += finish(run)
    assert joined(emitted) == [("write_file", ARGUMENTS)]
    assert run.choices[0].result.tool_calls[0]["function"] == {"name": "write_file", "arguments": ARGUMENTS}
    assert run.choices[0].result.finish_reason == "tool_calls"


def test_several_calls_are_emitted_one_after_the_other() -> None:
    run = run_of(TaggedFormat())
    emitted = feed(run, TWICE) + finish(run)
    assert joined(emitted) == [("write_file", ARGUMENTS)] * 2
    assert len({event.id for event in deltas_of(emitted) if event.id}) == 2


def test_calls_in_a_list_are_emitted_when_they_are_complete() -> None:
    run = run_of(MistralListFormat())
    text = f'[TOOL_CALLS][{{"name": "write_file", "arguments": {ARGUMENTS}}}]'
    assert deltas_of(feed(run, text[:-2])) == []
    assert joined(feed(run, text[-2:]) + finish(run)) == [("write_file", ARGUMENTS)]


@pytest.mark.parametrize(("form", "text"), [*WRITTEN, (TaggedFormat(), TWICE)], ids=[*IDS, "twice"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_another_worker_continues_a_call(form: CallFormat, text: str, share: float) -> None:
    cut = int(len(text) * share) // 3 * 3
    before = feed(run_of(form), text[:cut])
    resumed = run_of(form, ResumeState(accepted=True, replayed=before), attempt=2)
    known = len(resumed.choices[0].token_ids)
    assert resumed.choices[0].token_ids == list(range(known))
    # The engine decodes the text of the replayed tokens again, as calls need all of it, and goes on from there.
    replayed = {"text": text[: known * 3], "token_ids": [], "logprobs": []}
    after = translate(resumed, SequenceDelta(sequence_id=resumed.sequence_id(0), produced_at=1.0, **replayed))
    after += feed(resumed, text[known * 3 :], first_token=known) + finish(resumed)
    expected = [("write_file", ARGUMENTS)] * text.count("write_file")
    assert joined(before + after) == expected
    assert [call["function"]["arguments"] for call in resumed.choices[0].result.tool_calls] == [ARGUMENTS] * len(
        expected
    )


@pytest.mark.parametrize(("form", "text"), WRITTEN, ids=IDS)
def test_a_call_that_is_cut_off_is_not_in_the_result(form: CallFormat, text: str) -> None:
    run = run_of(form)
    assert deltas_of(feed(run, text[: len(text) // 2]))
    finish(run, FinishReason.LENGTH)
    result = run.choices[0].result
    assert (result.tool_calls, result.finish_reason) == ([], "length")


def test_calls_of_the_server_are_emitted_when_they_are_complete() -> None:
    run = run_of(TaggedFormat())
    run.choices[0].server_names = frozenset({"write_file"})
    text = WRITTEN[0][1]
    assert deltas_of(feed(run, text[:-30])) == []
