"""Short generations inside the inference worker that are no answer to anybody: a follow-up question is rewritten."""

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
from inference.text.rewriting import rewrite_messages, usable_rewrite
from tasks.jobs.runner import RunningJob

log = logging.getLogger(__name__)

#: A rewrite that takes longer, its wait for a slot included, is not waited for: the question is searched for as it is.
REWRITE_SECONDS = 8.0
REWRITE_TOKENS = 64


@dataclass
class _SideGeneration:
    text: str = ""
    usage: Usage = Usage()
    succeeded: bool = False
    done: threading.Event = field(default_factory=threading.Event)


class SideGenerations:
    """Collects the text of sequences that are no answer. `take` is called by the engine's thread."""

    def __init__(self) -> None:
        self._open: dict[str, _SideGeneration] = {}

    def take(self, step: Sequence[SequenceEvent]) -> None:
        """Sees all events of the engine; keeps those of the sequences that somebody waits for."""
        for event in step if self._open else ():
            side = self._open.get(event.sequence_id)
            if side is None:
                continue
            if isinstance(event, SequenceDelta):
                side.text += event.text
            elif isinstance(event, SequenceFinished | SequenceFailed | SequenceAborted):
                if isinstance(event, SequenceFinished):
                    side.succeeded, side.usage = True, event.usage
                side.done.set()

    def generate(self, engine: Engine, request: SequenceRequest, timeout_seconds: float) -> tuple[str | None, Usage]:
        """The text of a sequence and the tokens of it; None and none if it fails, is aborted or takes too long.

        Raises:
            LlmApiError: the engine does not take it.
        """
        side = self._open[request.sequence_id] = _SideGeneration()
        try:
            engine.submit(request)
            if not side.done.wait(timeout_seconds):
                engine.abort(request.sequence_id, "timeout")
            return (side.text if side.succeeded else None), side.usage
        finally:
            del self._open[request.sequence_id]


class QueryRewriter:
    """Rewrites the last question of a conversation with the model that answers it."""

    def __init__(
        self, engine: Engine, side_generations: SideGenerations, timeout_seconds: float = REWRITE_SECONDS
    ) -> None:
        self._engine = engine
        self._side_generations = side_generations
        self._timeout_seconds = timeout_seconds

    def rewrite(self, job: RunningJob, request: GenerateRequest) -> tuple[str | None, Usage]:
        """The question as it can be searched for, and the tokens that took.

        None for the question if that fails, takes too long or gives nothing usable.
        """
        try:
            answer, usage = self._side_generations.generate(
                self._engine, self._sequence(job, request), self._timeout_seconds
            )
        except LlmApiError as error:
            log.info("a question is not rewritten: %s", error.message)
            return None, Usage()
        counted = msgspec.structs.replace(usage, rewrite_tokens=usage.total_tokens)
        return (None if answer is None else usable_rewrite(answer, request.messages)), counted

    def abort(self, job_id: str, attempt: int) -> None:
        """Nobody waits for the answer any more."""
        self._engine.abort(_sequence_id(job_id, attempt), "cancelled")

    def _sequence(self, job: RunningJob, request: GenerateRequest) -> SequenceRequest:
        greedy = SamplingParams(temperature=0)
        prepared = self._engine.prepare(rewrite_messages(request.messages), max_tokens=REWRITE_TOKENS, sampling=greedy)
        return SequenceRequest(
            sequence_id=_sequence_id(job.id, job.record.attempt),
            prompt_token_ids=prepared.token_ids,
            sampling=greedy,
            max_tokens=prepared.max_tokens,
            priority="batch" if job.record.durable else "interactive",
            key=job.record.key,
            deadline=job.record.deadline,
        )


def _sequence_id(job_id: str, attempt: int) -> str:
    return f"{job_id}/{attempt}/rewrite"
