"""The events of one job, for the API's event loop, and the watch over a job that is quiet."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from core import events
from core.errors import ErrorInfo, Unavailable
from tasks.jobs.queues import Task

if TYPE_CHECKING:
    from tasks.jobs.stream import JobStream

log = logging.getLogger(__name__)

#: After about this time without an event, a reader checks the replay, as a publication may have been lost, and its job.
CHECK_SECONDS = 12.5
#: The same, while a worker or publications may have been lost.
QUIET_SECONDS = 1.0
#: The limit on a reply of Redis.
REPLY_SECONDS = 3.0
#: Events that are held in memory for a slow client. Further ones are read from the replay.
READER_QUEUE_SIZE = 256
#: An interactive job fails after this time if no worker serves it or Redis does not answer. A killed worker can restart
#: within this time, and the client still gets an answer within 15 s.
UNSERVED_SECONDS = 13.0

Frame = tuple[int, events.AnyEvent]


class JobReader:
    """The events of one job, each once and in order, up to the terminal one.

    Exiting the reader before the terminal event cancels the job, unless `keep_job` is set.
    """

    def __init__(self, stream: JobStream, job_id: str, after: int) -> None:
        self._stream = stream
        self.job_id = job_id
        self.keep_job = False
        #: Whether this process has submitted the job.
        self.submitted = False
        self._last = after
        self._finished = False
        #: Published frames, and None when it is time to check the job.
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(READER_QUEUE_SIZE)
        self._overflowed = False
        self._quiet_since = self._checked = time.monotonic()
        self._check_interval = _jittered(CHECK_SECONDS)

    async def __aenter__(self) -> JobReader:
        try:
            await self._stream.subscribe(self)
        except (RedisError, OSError) as error:
            raise unavailable() from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The clean-up is shielded from cancellation, as a cancelled request must still release its slot.
        await asyncio.shield(asyncio.ensure_future(self._leave()))

    async def _leave(self) -> None:
        try:
            await self._stream.unsubscribe(self)
            if self.submitted and not self.keep_job:
                await (self._stream.forget if self._finished else self._stream.cancel)(self.job_id)
        except (RedisError, OSError, Unavailable) as error:
            log.warning("job %s could not be cancelled or forgotten, so its time limits end it: %s", self.job_id, error)

    def push(self, frame: bytes) -> None:
        """Queue a published frame. If the queue is full, the frame is read from the replay later."""
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self._overflowed = True

    def tick(self, now: float, *, often: bool) -> None:
        """Make a reader without events check its job: rarely, as a net, or `often`, because something may be lost.

        The stream calls this for all readers, as a timer per token would cost more than the token.
        """
        interval = QUIET_SECONDS if often else self._check_interval
        if self._queue.empty() and now - max(self._quiet_since, self._checked) >= interval:
            self._checked = now
            self._check_interval = _jittered(CHECK_SECONDS)
            self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        self._quiet_since = time.monotonic()
        # A reader that entered before it submitted its job receives all events, so it need not begin with the replay.
        if not self.submitted or self._last:
            for number, event in await self._replayed():
                yield self._advance(number, event)
        while not self._finished:
            for number, event in await self._next():
                yield self._advance(number, event)

    def _advance(self, number: int, event: events.AnyEvent) -> Frame:
        self._last = number
        self._finished = events.is_terminal(event)
        self._quiet_since = time.monotonic()
        return number, event

    async def _next(self) -> list[Frame]:
        """Wait, and return new events in order, or none if the job is quiet but not lost."""
        frame = await self._queue.get()
        if frame is None:
            return await self._replayed() or await self._check_job()
        number, event = decode_frame(frame)
        if number <= self._last:
            return []
        if number > self._last + 1 or self._overflowed:
            self._overflowed = False
            return await self._replayed()
        return [(number, event)]

    async def _replayed(self) -> list[Frame]:
        # That one reader gets no answer in time proves little on a busy host.
        if self._stream.presence.unanswered_seconds() >= UNSERVED_SECONDS:
            return [self._failed(unavailable())]
        try:
            return await self._stream.frames_after(self.job_id, self._last)
        except Unavailable as error:
            log.warning("job %s: %s", self.job_id, error.message)
            return []

    async def _check_job(self) -> list[Frame]:
        """Send the job again if its worker or message was lost, and fail it if no worker can serve it."""
        try:
            found = await self._stream.task_of(self.job_id)
            if found is None:
                return [self._failed(Unavailable("The job's record is gone.", code="job_lost"))]
            if await self._stream.in_thread(self._stream.producer.revive, self.job_id):
                log.warning("job %s has been sent again, as its worker or its message may be lost", self.job_id)
            elif not self.keep_job and self._is_unserved(*found):
                await self._stream.in_thread(self._stream.producer.fail_unserved, self.job_id)
        except (RedisError, OSError, Unavailable) as error:
            log.warning("job %s: Redis does not answer: %s", self.job_id, error)
        return []

    def _is_unserved(self, task: Task, state: str, model: str) -> bool:
        """Return whether the job waits, and since UNSERVED_SECONDS there is no worker that could take it."""
        unserved_seconds = self._stream.presence.unserved_seconds(task.queue.role, model)
        waited = min(time.monotonic() - self._quiet_since, unserved_seconds)
        return state == "queued" and waited >= UNSERVED_SECONDS

    def _failed(self, error: Unavailable) -> Frame:
        info: ErrorInfo = error.info
        return self._last + 1, events.Failed(job_id=self.job_id, attempt=0, created=time.time(), error=info)


def _jittered(seconds: float) -> float:
    """Return the time, or up to a fifth more or less, so that readers do not all check at once."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


async def with_time_limit(reply: Awaitable[Any]) -> Any:
    """Return the reply of Redis, or raise TimeoutError after REPLY_SECONDS.

    The client's own limits do not apply while it connects to a Redis that hangs.
    """
    async with asyncio.timeout(REPLY_SECONDS):
        return await reply


def decode_frame(frame: bytes) -> Frame:
    number, payload = events.split_frame(frame)
    return number, events.decode(payload)


def unavailable() -> Unavailable:
    return Unavailable(
        "The queue (Redis) does not answer. Try again in a moment.", code="queue_unavailable", retry_after_seconds=5
    )
