"""Auxiliary generations of the inference worker, which no client reads: they rewrite follow-up questions for search."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from core.errors import LlmApiError
from core.messages import GenerateRequest, SamplingParams, Usage
from inference.engine.engine import Engine
from inference.engine.sequence import (
    SequenceAborted,
    SequenceDelta,
    SequenceEvent,
    SequenceFailed,
    SequenceFinished,
    SequenceRequest,
)
from inference.text.rewriting import expansion_messages, rewrite_messages, usable_queries, usable_rewrite
from tasks.jobs.runner import RunningJob

log = logging.getLogger(__name__)

#: The limit on a rewrite, including its wait for a slot. After it, the question itself is searched for.
REWRITE_SECONDS = 8.0
REWRITE_TOKENS = 64


@dataclass
class _AuxiliaryGeneration:
    text: str = ""
    usage: Usage = Usage()
    succeeded: bool = False
    done: threading.Event = field(default_factory=threading.Event)


class AuxiliaryGenerations:
    """Generates text for the worker itself. The engine's thread passes all of its events to `receive`."""

    def __init__(self) -> None:
        #: By sequence id.
        self._running: dict[str, _AuxiliaryGeneration] = {}

    def receive(self, step: Sequence[SequenceEvent]) -> None:
        """Collect the events of auxiliary sequences, and ignore others."""
        for event in step if self._running else ():
            generation = self._running.get(event.sequence_id)
            if generation is None:
                continue
            if isinstance(event, SequenceDelta):
                generation.text += event.text
            elif isinstance(event, SequenceFinished | SequenceFailed | SequenceAborted):
                if isinstance(event, SequenceFinished):
                    generation.succeeded, generation.usage = True, event.usage
                generation.done.set()

    def generate(self, engine: Engine, request: SequenceRequest, timeout_seconds: float) -> tuple[str | None, Usage]:
        """Return the text and the usage of a sequence. The text is None if it fails, is aborted or takes too long.

        Raises:
            LlmApiError: if the engine does not accept the sequence.
        """
        generation = self._running[request.sequence_id] = _AuxiliaryGeneration()
        try:
            engine.submit(request)
            if not generation.done.wait(timeout_seconds):
                engine.abort(request.sequence_id, "timeout")
            return (generation.text if generation.succeeded else None), generation.usage
        finally:
            del self._running[request.sequence_id]


class QueryRewriter:
    """Rewrites the last question of a conversation, with the model that will answer it."""

    def __init__(
        self,
        engine: Engine,
        auxiliary_generations: AuxiliaryGenerations,
        timeout_seconds: float = REWRITE_SECONDS,
        *,
        expands: bool = False,
    ) -> None:
        """
        Args:
            expands: whether the model writes several queries instead of one question.
        """
        self._messages = expansion_messages if expands else rewrite_messages
        self._usable = usable_queries if expands else usable_rewrite
        self._engine = engine
        self._auxiliary_generations = auxiliary_generations
        self._timeout_seconds = timeout_seconds

    def rewrite(self, job: RunningJob, request: GenerateRequest) -> tuple[str | None, Usage]:
        """Return what can be searched for without the conversation, a query a line, and the tokens used.

        It is None if the rewrite fails, takes too long or is not usable.
        """
        try:
            answer, usage = self._auxiliary_generations.generate(
                self._engine, self._sequence(job, request), self._timeout_seconds
            )
        except LlmApiError as error:
            log.info("a question is not rewritten: %s", error.message)
            return None, Usage()
        counted = msgspec.structs.replace(usage, rewrite_tokens=usage.total_tokens)
        return (None if answer is None else self._usable(answer, request.messages)), counted

    def abort(self, job_id: str, attempt: int) -> None:
        """Abort the rewrite of an attempt at a job."""
        self._engine.abort(_sequence_id(job_id, attempt), "cancelled")

    def _sequence(self, job: RunningJob, request: GenerateRequest) -> SequenceRequest:
        greedy = SamplingParams(temperature=0)
        prepared = self._engine.prepare(
            self._messages(request.messages),
            max_tokens=REWRITE_TOKENS,
            sampling=greedy,
            options={"enable_thinking": False},
        )
        return SequenceRequest(
            sequence_id=_sequence_id(job.id, job.record.attempt),
            prompt_token_ids=prepared.token_ids,
            sampling=greedy,
            max_tokens=prepared.max_tokens,
            reasoning=prepared.reasoning,
            priority="batch" if job.record.durable else "interactive",
            key=job.record.key,
            deadline=job.record.deadline,
        )


def _sequence_id(job_id: str, attempt: int) -> str:
    return f"{job_id}/{attempt}/rewrite"
