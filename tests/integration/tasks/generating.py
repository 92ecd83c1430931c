"""A generation service with the real engine and a real Redis, and helpers that read the events of its jobs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import Field

from core import events
from core.catalog import Catalog
from core.ids import new_id
from core.messages import (
    ChatMessage,
    CompleteRequest,
    DetokenizeRequest,
    GenerateRequest,
    SamplingParams,
    TokenizeRequest,
)
from core.settings import load_settings
from inference.functions import FunctionRegistry
from inference.functions.builtin.document_search import search_documents
from tasks.chat.generation import GenerationService
from tasks.jobs.heartbeats import JobHeartbeats
from tasks.jobs.kinds import CHAT, COMPLETION, RAG_CHAT, TOKENIZE, JobKind
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Tasks
from tasks.jobs.records import Append
from tasks.jobs.runner import JobResult, JobRunner

GREEDY = SamplingParams(temperature=0)
QUESTION = [ChatMessage("user", "What is the weather in Paris, and what time is it?")]


class Workshop:
    """The functions that the server runs, and a record of their calls."""

    def __init__(self) -> None:
        self.registry = FunctionRegistry(timeout_seconds=20)
        self.added: list[tuple[int, int]] = []
        #: `wait_here` sets `waiting`, and waits for `release`.
        self.release, self.waiting = threading.Event(), threading.Event()
        for function in (self.add, self.break_down, self.wait_here, self.pick, search_documents):
            self.registry.register(function)
        self.registry.register(timeout_seconds=0.2)(self.dawdle)

    def add(self, a: Annotated[int, Field(ge=0, le=9)], b: Annotated[int, Field(ge=0, le=9)]) -> dict[str, int]:
        """Add two digits."""
        self.added.append((a, b))
        return {"sum": a + b}

    def break_down(self) -> None:
        """Fail."""
        raise ValueError("the gears are \ud800 stuck")

    def wait_here(self) -> str:
        """Wait for somebody."""
        self.waiting.set()
        self.release.wait(20)
        return "here"

    def dawdle(self) -> str:
        """Take too long."""
        threading.Event().wait(2)
        return "too late"

    def pick(self, numbers: Annotated[set[int], Field(min_length=2, max_length=3)]) -> int:
        """Pick the greatest of some numbers. No grammar can hold that they differ."""
        return max(numbers)


class World:
    """A generation service that runs jobs and returns their events."""

    def __init__(self, producer: Producer, catalog: Catalog, folder: Path, model_path: Path | None = None) -> None:
        settings = load_settings(
            _env_file=None,
            data_dir=folder,
            inference_slots=4,
            inference_threads=2,
            context_length=2048,
            model_path=model_path,
        )
        self.producer, self.catalog = producer, catalog
        self.heartbeats = JobHeartbeats(producer.records)
        self.workshop = Workshop()
        runner = JobRunner(producer, catalog, self.heartbeats)
        self.service = GenerationService(settings, producer, runner, self.workshop.registry)

    def close(self) -> None:
        self.service.close()
        self.heartbeats.close()

    def submit(self, **fields: Any) -> str:
        """Submit a chat, and one with documents as it is after a search without hits. Return the job's id."""
        job_id = new_id("job")
        options: dict[str, Any] = {"messages": QUESTION, "sampling": GREEDY, "max_tokens": 160, **fields}
        request = GenerateRequest(**options)
        self.producer.submit(job_id, RAG_CHAT if request.rag else CHAT, request)
        if request.rag:
            claimed = self.producer.records.claim(job_id, Tasks.RETRIEVE)
            assert claimed is not None
            assert self.producer.records.hand_over(claimed[0], Tasks.GENERATE)
        return job_id

    def submit_durable(self, **fields: Any) -> str:
        """Submit a durable job, which has a row in the catalog. Return its id."""
        job_id = new_id("job")
        options: dict[str, Any] = {"messages": QUESTION, "sampling": GREEDY, "max_tokens": 160, **fields}
        request = GenerateRequest(**options)
        self.catalog.create_job(job_id, "chat", "/v1/chat/completions", msgspec.json.encode(request).decode(), None)
        self.producer.submit(job_id, CHAT, request, durable=True)
        return job_id

    def result_of(self, job_id: str) -> JobResult:
        """Return the result of a job from its row in the catalog."""
        return msgspec.json.decode(self.catalog.get_job(job_id).result or "", type=JobResult)

    def generate(self, job_id: str) -> list[events.AnyEvent]:
        """Generate the answer of a job, and return all events of the job."""
        record = self.producer.records.load(job_id)
        assert record is not None
        if record.task is Tasks.COMPLETE:
            self.service.complete(job_id, record.queue)
        else:
            self.service.generate(job_id, record.queue)
        return [event for _, event in self.producer.records.replay(job_id)]

    def run(self, **fields: Any) -> list[events.AnyEvent]:
        return self.generate(self.submit(**fields))

    def submit_completion(self, *prompts: str | list[int], **fields: Any) -> str:
        """Submit a raw completion. Return the job's id."""
        job_id = new_id("job")
        options: dict[str, Any] = {"sampling": GREEDY, "max_tokens": 12, **fields}
        self.producer.submit(job_id, COMPLETION, CompleteRequest(prompts=list(prompts), **options))
        return job_id

    def complete(self, *prompts: str | list[int], **fields: Any) -> list[events.AnyEvent]:
        """Run a raw completion, and return all events of the job."""
        return self.generate(self.submit_completion(*prompts, **fields))

    def result_of_tokens(self, kind: JobKind, request: TokenizeRequest | DetokenizeRequest) -> Any:
        """Run a job of `/v1/tokenize` or `/v1/detokenize`. Return its result."""
        job_id = new_id("job")
        self.producer.submit(job_id, kind, request)
        tokens = self.service.tokens
        (tokens.tokenize if kind is TOKENIZE else tokens.detokenize)(job_id)
        (*_, (_, last)) = self.producer.records.replay(job_id)
        assert isinstance(last, events.Finished), last
        return last.result

    def resume(
        self, replayed: Sequence[tuple[Callable[..., events.AnyEvent], dict[str, Any]]], **fields: Any
    ) -> list[events.AnyEvent]:
        """Run a chat whose first worker was lost after it had emitted `replayed`. Return all events of the job."""
        return self.resume_job(self.submit(**fields), replayed)

    def resume_job(
        self, job_id: str, replayed: Sequence[tuple[Callable[..., events.AnyEvent], dict[str, Any]]]
    ) -> list[events.AnyEvent]:
        """Run a submitted job as `resume` does."""
        record = self.producer.records.load(job_id)
        assert record is not None
        first = {"job_id": job_id, "attempt": 1}
        earlier = (kind(**{**values, **first}) for kind, values in replayed)
        items = [events.Accepted(**first, model="m", prompt_tokens=3), *earlier]
        self.producer.records.append(Append(job_id, 1, items, record.queue, "running"))
        assert self.producer.records.retry(record) == 2
        return self.generate(job_id)


def text_of(emitted: Sequence[events.AnyEvent], index: int = 0) -> str:
    return "".join(event.text for event in emitted if isinstance(event, events.TextDelta) and event.index == index)


def calls_of(emitted: Sequence[events.AnyEvent], index: int = 0, *, server: bool = False) -> list[tuple[str, Any]]:
    """Return the name and the decoded arguments of each call, of the client or of the server.

    Check that each call is opened once, with an id of its own.
    """
    names: list[str] = []
    arguments: list[str] = []
    ids: set[str] = set()
    for event in emitted:
        if isinstance(event, events.ToolCallDelta) and event.index == index and event.server == server:
            if event.id is not None:
                assert event.call_index == len(names) and event.id not in ids and event.name
                ids.add(event.id)
                names.append(event.name)
                arguments.append("")
            arguments[event.call_index] += event.arguments
    return [(name, json.loads(text)) for name, text in zip(names, arguments, strict=True)]


def reasons_of(emitted: Sequence[events.AnyEvent]) -> list[str]:
    assert isinstance(emitted[-1], events.Finished), emitted[-1]
    return [event.finish_reason for event in emitted if isinstance(event, events.ChoiceFinished)]


def refusal_of(emitted: Sequence[events.AnyEvent]) -> tuple[str | None, str]:
    """Check that the job was refused before it was accepted. Return the field and the message of the refusal."""
    last = emitted[-1]
    assert isinstance(last, events.Failed) and last.error.status == 400
    assert not any(isinstance(event, events.Accepted) for event in emitted)
    return last.error.param, last.error.message


def results_of(emitted: Sequence[events.AnyEvent]) -> list[tuple[str, Any, str | None]]:
    """Return the name, result and error of each function that the server ran."""
    return [(event.name, event.result, event.error) for event in emitted if isinstance(event, events.ToolResult)]


def fields_of(event: events.AnyEvent) -> dict[str, Any]:
    """Return the fields of an event, from which it can be made again for another job."""
    return {name: getattr(event, name) for name in event.__struct_fields__}
