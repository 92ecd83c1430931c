"""A `JobStream` without Redis, in which a function makes the events of a job from its request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import msgspec

from core import events
from core.errors import LlmApiError, Unavailable
from core.keys import DEFAULT_OWNER
from tasks.jobs.kinds import JobKind
from tasks.jobs.queue_view import QueuedJob, Waiting
from tasks.jobs.queues import Role

#: Makes the events of a job. At an `asyncio.Event` among them, the job waits until it is set.
Script = Callable[[str, msgspec.Struct, str], Iterable[events.AnyEvent | asyncio.Event]]
Frame = tuple[int, events.AnyEvent]


@dataclass
class Submitted:
    """A job that was submitted."""

    job_id: str
    kind: str
    request: Any
    durable: bool
    key: str
    deadline_seconds: float | None
    owner: str = DEFAULT_OWNER
    model: str = ""


@dataclass
class FakeJobStream:
    """Emits the events of `scripts[kind]` for each job. `failure` makes every call fail, as if Redis did not answer."""

    scripts: dict[str, Script] = field(default_factory=dict)
    live: dict[Role, dict[str, dict[str, Any]]] = field(default_factory=dict)
    submitted: list[Submitted] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    recorded: dict[str, list[Frame]] = field(default_factory=dict)
    failure: LlmApiError | None = None
    #: How many jobs run.
    running: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self, job_id: str, *, after: int = 0) -> FakeReader:
        return FakeReader(self, job_id, after)

    async def submit(
        self,
        job_id: str,
        kind: JobKind,
        request: msgspec.Struct,
        *,
        durable: bool = False,
        key: str = "",
        owner: str = DEFAULT_OWNER,
        deadline_seconds: float | None = None,
        model: str = "",
    ) -> int:
        self.check()
        self.submitted.append(Submitted(job_id, kind.name, request, durable, key, deadline_seconds, owner, model))
        return 0

    async def replay(self, job_id: str, after_seq: int = 0) -> AsyncIterator[Frame]:
        for frame in await self.frames_after(job_id, after_seq):
            yield frame

    async def frames_after(self, job_id: str, number: int) -> list[Frame]:
        self.check()
        return [frame for frame in self.recorded.get(job_id, []) if frame[0] > number]

    async def cancel(self, job_id: str) -> bool:
        self.check()
        self.cancelled.append(job_id)
        return True

    async def position(self, job_id: str) -> int | None:
        self.check()
        waiting = [job.job_id for job in self.submitted]
        return waiting.index(job_id) if job_id in waiting else None

    async def turns(self) -> tuple[dict[str, Waiting], int]:
        self.check()
        return {job.job_id: Waiting(at, at / 2) for at, job in enumerate(self.submitted)}, self.running

    async def queued_jobs(self) -> tuple[list[QueuedJob], dict[Role, dict[str, dict[str, Any]]]]:
        self.check()
        turns, _ = await self.turns()
        jobs = [
            QueuedJob(
                job_id=job.job_id,
                kind=job.kind,
                owner=job.owner,
                model=job.model,
                durable=job.durable,
                age_seconds=1.0,
                running_seconds=None,
                turn=turns[job.job_id],
                tokens=0,
                tokens_per_second=None,
            )
            for job in self.submitted
        ]
        return jobs, self.live

    async def throughput(self) -> tuple[int, list[dict[str, int]]]:
        self.check()
        return 60, [{"jobs": 1, "unknown": 1}, *({} for _ in range(59))]

    async def ping(self) -> None:
        self.check()

    async def workers(self, role: Role) -> dict[str, dict[str, Any]]:
        self.check()
        return self.live.get(role, {})

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure


class FakeReader:
    """Reads the events of the job that was submitted with this id."""

    def __init__(self, stream: FakeJobStream, job_id: str, after: int) -> None:
        self._stream = stream
        self._job_id = job_id
        self._after = after
        self._ended = False

    async def __aenter__(self) -> FakeReader:
        self._stream.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            self._stream.cancelled.append(self._job_id)
        self._stream.left.set()

    async def __aiter__(self) -> AsyncIterator[Frame]:
        job = next(job for job in self._stream.submitted if job.job_id == self._job_id)
        number = 0
        for item in self._stream.scripts[job.kind](job.job_id, job.request, job.kind):
            if isinstance(item, asyncio.Event):
                await item.wait()
                continue
            number += 1
            self._ended = events.is_terminal(item)
            yield number, item


@dataclass
class FakeHints:
    """Records the producer's hints; `on_ingest` stands in for the workers."""

    on_ingest: Callable[[str], None] = lambda _: None
    ingested: list[str] = field(default_factory=list)
    woken: int = 0
    away: bool = False

    def ingest(self, document_id: str) -> bool:
        if self.away:
            raise Unavailable("The queue (Redis) does not answer.")
        self.ingested.append(document_id)
        self.on_ingest(document_id)
        return True

    def wake_indexer(self) -> None:
        if self.away:
            raise Unavailable("The queue (Redis) does not answer.")
        self.woken += 1
