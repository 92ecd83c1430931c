"""A RAG chat from task to task, with the real engine: a follow-up is rewritten, searched for, answered and cited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from core import events
from core.errors import Unavailable
from core.ids import new_id
from core.messages import ChatMessage, GenerateRequest, Hit, RagOptions, Usage
from tasks.jobs.kinds import RAG_CHAT
from tasks.jobs.queues import Queue, Task, Tasks
from tests.integration.tasks.generating import GREEDY, World, text_of

FIRST = [ChatMessage("user", "How long is the warranty of the Aurora coffee machine?"), ChatMessage("assistant", "4.")]
FOLLOW_UP = [*FIRST, ChatMessage("user", "Does it cover the pump?")]
HITS = [
    Hit("doc-1", 0, "The warranty of the Aurora lasts four years and covers the pump.", 1.0, "a.txt", "default"),
    Hit("doc-2", 0, "Whales sing at night.", 0.5, "b.txt", "default"),
]


def submit(world: World, **fields: Any) -> str:
    job_id = new_id("job")
    options: dict[str, Any] = {"messages": FOLLOW_UP, "sampling": GREEDY, "max_tokens": 32, **fields}
    rag = RagOptions(query=options["messages"][-1].content, top_k=3)
    world.producer.submit(job_id, RAG_CHAT, GenerateRequest(**options, rag=rag))
    return job_id


def to_task(world: World, job_id: str, task: Task, hits: Sequence[Hit] = ()) -> None:
    """Hand a job over to this task, as the search does."""
    records = world.producer.records
    claimed = records.claim(job_id, Tasks.RETRIEVE)
    assert claimed is not None
    assert records.store_hits(claimed[0], hits, 1.0)
    assert records.hand_over(claimed[0], task)


def test_a_follow_up_is_rewritten_and_handed_over_to_the_search(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.service._rewriter, "_timeout_seconds", 120.0)
    job_id = submit(world)
    to_task(world, job_id, Tasks.REWRITE)
    world.service.rewrite(job_id)
    record = world.producer.records.load(job_id)
    assert record is not None and (record.task, record.state, record.queue) == (Tasks.RETRIEVE, "queued", Queue.QUERY)
    rewrite = world.producer.records.load_rewrite(job_id)
    assert rewrite is not None and "\n" not in rewrite
    spent = world.producer.records.load_rewrite_usage(job_id)
    assert spent.prompt_tokens > 0 and spent.rewrite_tokens == spent.total_tokens
    to_task(world, job_id, Tasks.GENERATE, HITS)
    last = world.generate(job_id)[-1]
    assert isinstance(last, events.Finished) and last.usage.rewrite_tokens == spent.rewrite_tokens
    assert last.usage.prompt_tokens > spent.prompt_tokens
    assert last.usage.completion_tokens > spent.completion_tokens


def test_without_a_rewrite_the_question_itself_is_searched_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Unavailable("The inference engine has stopped.")

    job_id = submit(world)
    to_task(world, job_id, Tasks.REWRITE)
    with monkeypatch.context() as patch:
        patch.setattr(world.service.engine, "submit", refuse)
        world.service.rewrite(job_id)
    record = world.producer.records.load(job_id)
    assert record is not None and record.task is Tasks.RETRIEVE
    assert world.producer.records.load_rewrite(job_id) == ""


def test_a_rewrite_that_takes_too_long_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submit(world)
    to_task(world, job_id, Tasks.REWRITE)
    monkeypatch.setattr(world.service._rewriter, "_timeout_seconds", 0.0)
    world.service.rewrite(job_id)
    assert world.producer.records.load_rewrite(job_id) == ""
    assert world.producer.records.load_rewrite_usage(job_id) == Usage()


def test_sources_are_emitted_before_the_answer_and_markers_refer_to_them(world: World) -> None:
    job_id = submit(world, messages=[ChatMessage("user", "What does the warranty of the Aurora cover?")])
    to_task(world, job_id, Tasks.GENERATE, HITS)
    emitted = world.generate(job_id)
    kinds = [type(event) for event in emitted]
    assert kinds.index(events.Retrieved) < kinds.index(events.TextDelta)
    retrieved = next(event for event in emitted if isinstance(event, events.Retrieved))
    assert [hit.document_id for hit in retrieved.hits] == ["doc-1", "doc-2"]
    text = text_of(emitted)
    assert text and "[2]" not in text and "[3]" not in text
    assert isinstance(emitted[-1], events.Finished)
    [finished] = [event for event in emitted if isinstance(event, events.ChoiceFinished)]
    assert finished.grounding is not None and finished.grounding.words == []


def test_without_room_for_any_hit_the_model_is_not_asked(world: World) -> None:
    job_id = submit(world, messages=[ChatMessage("user", "word " * 1520)], max_tokens=None)
    to_task(world, job_id, Tasks.GENERATE, HITS)
    last = world.generate(job_id)[-1]
    assert isinstance(last, events.Failed) and last.error.status == 400
    assert last.error.param == "messages" and "no room for what was found" in last.error.message


def test_a_limit_beyond_the_context_leaves_room_for_hits(world: World) -> None:
    job_id = submit(world, messages=[ChatMessage("user", "What does it cover?")], max_tokens=4096, n=1)
    to_task(world, job_id, Tasks.GENERATE, HITS)
    retrieved = next(event for event in world.generate(job_id) if isinstance(event, events.Retrieved))
    assert len(retrieved.hits) == 2


def test_without_hits_the_model_is_not_asked(world: World) -> None:
    job_id = submit(world)
    to_task(world, job_id, Tasks.GENERATE)
    emitted = world.generate(job_id)
    assert text_of(emitted) == "I could not find anything about that in the documents."
    assert isinstance(emitted[-1], events.Finished) and emitted[-1].usage.completion_tokens == 0
