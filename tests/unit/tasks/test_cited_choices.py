"""Citation markers in an answer from documents, from the engine to the client."""

from __future__ import annotations

import pytest

from core import events
from core.messages import ChatMessage, GenerateRequest, Grounding, RagOptions, SamplingParams, Timings, Usage
from inference.engine.sequence import FinishReason, SequenceDelta, SequenceFinished
from inference.text.citations import Citer
from tasks.chat.choices import Choice, SequenceRun, translate
from tasks.chat.constraints import can_cite
from tasks.chat.resume_state import ResumeState
from tasks.jobs.job_record import JobRecord
from tasks.jobs.kinds import RAG_CHAT
from tasks.jobs.queues import Tasks
from tasks.jobs.records import JobRecords
from tasks.jobs.runner import ChoiceResult, RunningJob

SOURCE = "The warranty lasts four years."
PIECES = ["The warranty", " lasts [1", "] four years", ".", " And", " more."]
ANSWER = "The warranty lasts four years. [1] And more."


def run_of(emitted: str = "") -> SequenceRun:
    record = JobRecord("job-1", RAG_CHAT, Tasks.GENERATE, 1, "taken", False, "", 0.0, None, False, False)
    records: JobRecords = object()  # type: ignore[assignment]
    choice = Choice(ChoiceResult(text=emitted), citer=Citer([SOURCE], len(emitted)))
    return SequenceRun(RunningJob(record, b"{}", records), [choice])


def play(run: SequenceRun) -> list[events.AnyEvent]:
    """Return the job events of the whole answer. Each piece is a token, numbered from 0."""
    sequence_id = run.sequence_id(0)
    steps = [
        SequenceDelta(sequence_id=sequence_id, produced_at=5.0, text=text, token_ids=[token], logprobs=[])
        for token, text in enumerate(PIECES)
    ]
    end = SequenceFinished(
        sequence_id=sequence_id, produced_at=6.0, finish_reason=FinishReason.STOP, usage=Usage(), timings=Timings()
    )
    return [event for step in (*steps, end) for event in translate(run, step)]


def test_markers_are_deltas_at_the_ends_of_sentences() -> None:
    run = run_of()
    emitted = play(run)
    texts = [event.text for event in emitted if isinstance(event, events.TextDelta)]
    assert texts[:2] == ["The warranty", " lasts"], "text is not held back for its markers"
    assert "".join(texts) == ANSWER == run.choices[0].result.text
    tokens = [token for event in emitted if isinstance(event, events.TextDelta) for token in event.token_ids]
    assert tokens == list(range(len(PIECES)))
    assert isinstance(emitted[-1], events.ChoiceFinished)


@pytest.mark.parametrize("emitted", range(0, len(ANSWER), 7))
def test_another_worker_resumes_where_the_first_stopped(emitted: int) -> None:
    run = run_of(ANSWER[:emitted])
    assert run.choices[0].resume_text_length == 0, "the text is read again, to place the markers"
    texts = [event.text for event in play(run) if isinstance(event, events.TextDelta)]
    assert "".join(texts) == ANSWER[emitted:] and run.choices[0].result.text == ANSWER


def test_the_complete_answer_is_checked_against_its_sources() -> None:
    run, asked = run_of(), list[str]()

    def ground(answer: str) -> Grounding:
        asked.append(answer)
        return Grounding(sentences=["And more."])

    run.choices[0].ground = ground
    last = play(run)[-1]
    assert asked == [ANSWER], "once, when all of it is there"
    assert isinstance(last, events.ChoiceFinished) and last.grounding == Grounding(sentences=["And more."])
    assert run.choices[0].result.grounding == last.grounding
    resumed = ResumeState.from_events([last]).choices(1)[0].result
    assert resumed.grounding == last.grounding


def test_only_free_text_from_documents_is_cited() -> None:
    rag = RagOptions(query="warranty", top_k=3)
    messages = [ChatMessage("user", "warranty?")]
    assert can_cite(GenerateRequest(messages, rag=rag))
    assert not can_cite(GenerateRequest(messages))
    assert not can_cite(GenerateRequest(messages, rag=rag, answer_schema={"type": "object"}))
    assert not can_cite(GenerateRequest(messages, rag=rag, tools=[{"type": "function", "function": {"name": "f"}}]))
    assert not can_cite(GenerateRequest(messages, rag=rag, sampling=SamplingParams(logprobs=True)))
