"""The reading side of job events, for the API's event loop.

One pub/sub connection per process serves all readers. A reader subscribes before its job is sent, reads the replay and
then the published events. Sequence numbers have no gaps, so they show which events come twice and which are missing
(redis-py reconnects a dropped pub/sub connection without an exception). Missing events are read from the replay.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import Any

import msgspec
from anyio import to_thread
from redis.exceptions import RedisError

from core import events
from core.errors import ErrorInfo, Unavailable
from core.settings import Settings
from tasks.jobs.keys import channel, events_key, job_key, worker_key
from tasks.jobs.kinds import JobKind, kind_named
from tasks.jobs.producer import Producer, live_workers
from tasks.jobs.queues import Role, Task
from tasks.jobs.redis_client import connect_async

log = logging.getLogger(__name__)

#: After this time without an event, a reader checks the replay, as a publication may have been lost, and the heartbeat.
QUIET_SECONDS = 1.0
#: The limit on a reply of Redis.
REPLY_SECONDS = 3.0
#: Events that are held in memory for a slow client. Further ones are read from the replay.
READER_QUEUE_SIZE = 256
#: An interactive job fails after this time if no worker serves it or Redis does not answer. A killed worker can restart
#: within this time, and the client still gets an answer within 15 s.
UNSERVED_SECONDS = 13.0

Frame = tuple[int, events.AnyEvent]


class JobStream:
    """Submits jobs and reads their events. One per process; call `start` and `close` on the event loop."""

    def __init__(self, settings: Settings, producer: Producer | None = None) -> None:
        self._producer = producer or Producer(settings)
        self._redis = connect_async(settings)
        self._pubsub_redis = connect_async(settings, listens=True)
        self._pubsub: Any = self._pubsub_redis.pubsub(ignore_subscribe_messages=True)
        self._readers: dict[bytes, set[JobReader]] = {}
        self._subscribed = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []

    @property
    def producer(self) -> Producer:
        """The producer. It blocks, so call it in a thread."""
        return self._producer

    async def start(self) -> None:
        """Start listening. Redis may start later; requests get a 503 until then."""
        self._background = [
            asyncio.create_task(self._listen(), name="job-stream"),
            asyncio.create_task(self._tick_readers(), name="quiet-jobs"),
        ]
        try:
            await to_thread.run_sync(self._producer.warm_up)
        except Unavailable as error:
            log.warning("%s", error.message)

    async def close(self) -> None:
        """Stop listening and close the connections."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._pubsub.aclose()
        await self._pubsub_redis.aclose()
        await self._redis.aclose()

    def open(self, job_id: str, *, after: int = 0) -> JobReader:
        """Return a reader of the job's events after number `after`. Enter it before submitting the job."""
        return JobReader(self, job_id, after)

    async def submit(
        self,
        job_id: str,
        kind: JobKind,
        request: msgspec.Struct,
        *,
        durable: bool = False,
        key: str | None = None,
        deadline_seconds: float | None = None,
    ) -> int:
        """Write the record and send the task, in a thread. Return the position in the queue.

        Raises:
            Unavailable: if Redis does not answer or the queue is full.
        """

        def send() -> int:
            return self._producer.submit(
                job_id, kind, request, durable=durable, key=key or "", deadline_seconds=deadline_seconds
            )

        readers = self._readers.get(channel(job_id).encode(), set())
        # Set before the job is sent, so that it is cancelled if its client leaves meanwhile.
        for reader in readers:
            reader.submitted = True
        try:
            return await to_thread.run_sync(send)
        except Unavailable:
            for reader in readers:
                reader.submitted = False
            raise

    async def replay(self, job_id: str, after_seq: int = 0) -> AsyncIterator[Frame]:
        """Yield the job's events after `after_seq`: those of the replay, then new ones. This never cancels the job."""
        async with self.open(job_id, after=after_seq) as reader:
            reader.keep_job = True
            async for frame in reader:
                yield frame

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job. Return False if it is unknown or done."""
        return await to_thread.run_sync(self._producer.cancel, job_id)

    async def position(self, job_id: str) -> int | None:
        """Return the number of jobs that wait before this one, or None if it does not wait."""
        return await to_thread.run_sync(self._producer.position, job_id)

    async def ping(self) -> None:
        """Raise `Unavailable` unless Redis answers."""
        try:
            await _with_time_limit(self._redis.ping())
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    async def workers(self, role: Role) -> dict[str, dict[str, Any]]:
        """Return the last announcement of each live worker of a role, by name.

        Raises:
            Unavailable: if Redis does not answer.
        """
        try:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hgetall(worker_key(role))
            pipeline.time()
            return live_workers(*await _with_time_limit(pipeline.execute()))
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    async def queue_lengths(self) -> dict[str, int]:
        """Return the number of messages in each queue."""
        return await to_thread.run_sync(self._producer.queue_lengths)

    # For the readers

    async def frames_after(self, job_id: str, number: int) -> list[Frame]:
        """Return the events of the replay with sequence numbers above `number`.

        Raises:
            Unavailable: if Redis does not answer.
        """
        try:
            return await self._frames_after(job_id, number)
        except (RedisError, OSError) as error:
            raise _unavailable() from error

    async def _frames_after(self, job_id: str, number: int) -> list[Frame]:
        if number == 0:  # each request starts with this, so it takes one round trip
            return [_decode(frame) for frame in await _with_time_limit(self._redis.lrange(events_key(job_id), 0, -1))]
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.lindex(events_key(job_id), 0)
        pipeline.llen(events_key(job_id))
        first, length = await _with_time_limit(pipeline.execute())
        if first is None:
            return []
        offset = max(0, number + 1 - events.split_frame(first)[0])
        if offset >= length:
            return []
        raw = await _with_time_limit(self._redis.lrange(events_key(job_id), offset, -1))
        return [_decode(frame) for frame in raw]

    async def task_of(self, job_id: str) -> tuple[Task, str] | None:
        """Return a job's task and state, or None if its record is gone."""
        kind, task, state = await _with_time_limit(self._redis.hmget(job_key(job_id), "kind", "task", "state"))
        return (kind_named(kind.decode()).task_named(task.decode()), state.decode()) if kind else None

    async def subscribe(self, reader: JobReader) -> None:
        """Add a reader, and subscribe to its job's channel if it is the first one."""
        name = channel(reader.job_id).encode()
        readers = self._readers.setdefault(name, set())
        readers.add(reader)
        if len(readers) == 1:
            try:
                await self._pubsub.subscribe(name)
            except BaseException:
                self._readers.pop(name, None)
                raise
            self._subscribed.set()

    async def unsubscribe(self, reader: JobReader) -> None:
        """Remove a reader, and unsubscribe from its job's channel if it was the last one."""
        name = channel(reader.job_id).encode()
        readers = self._readers.get(name, set())
        readers.discard(reader)
        if not readers and self._readers.pop(name, None) is not None:
            await self._pubsub.unsubscribe(name)

    async def _listen(self) -> None:
        # Not tenacity: it adds 60 µs to each read, so to each token of each stream.
        while True:
            if not self._readers:
                self._subscribed.clear()
                await self._subscribed.wait()
            try:
                await self._receive()
            except (RedisError, OSError) as error:
                # The next read connects and subscribes again. Readers get what they missed from the replay.
                log.warning("the event stream's connection broke: %s", error)
                await self._pubsub.connection.disconnect(nowait=True)
                await asyncio.sleep(0.2)

    async def _receive(self) -> None:
        """Pass one published event on to its readers.

        It is read from the connection itself, since what `get_message` adds to each token of each stream costs more
        than the read.
        """
        connection = self._pubsub.connection
        if not connection.is_connected:
            await connection.connect()
        reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False, push_request=True)
        if reply[0] == b"message":
            for reader in self._readers.get(reply[1], ()):
                reader.push(reply[2])
        else:
            await self._pubsub.handle_message(reply)  # a confirmation of (un)subscribing

    async def _tick_readers(self) -> None:
        while True:
            await asyncio.sleep(QUIET_SECONDS / 2)
            await self._subscribed.wait()
            now = time.monotonic()
            for readers in list(self._readers.values()):
                for reader in readers:
                    reader.tick(now)


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
        #: Published frames, and None when there has been no event for QUIET_SECONDS.
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(READER_QUEUE_SIZE)
        self._overflowed = False
        self._quiet_since = self._checked = time.monotonic()

    async def __aenter__(self) -> JobReader:
        try:
            await self._stream.subscribe(self)
        except (RedisError, OSError) as error:
            raise _unavailable() from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The clean-up is shielded from cancellation, as a cancelled request must still release its slot.
        await asyncio.shield(asyncio.ensure_future(self._leave()))

    async def _leave(self) -> None:
        try:
            await self._stream.unsubscribe(self)
            if self.submitted and not self._finished and not self.keep_job:
                await self._stream.cancel(self.job_id)
        except (RedisError, OSError, Unavailable) as error:
            log.warning("job %s could not be cancelled; it ends at its deadline: %s", self.job_id, error)

    def push(self, frame: bytes) -> None:
        """Queue a published frame. If the queue is full, the frame is read from the replay later."""
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self._overflowed = True

    def tick(self, now: float) -> None:
        """Make a reader without events for QUIET_SECONDS check its job.

        The stream calls this for all readers, as a timer per token would cost more than the token.
        """
        if self._queue.empty() and now - max(self._quiet_since, self._checked) >= QUIET_SECONDS:
            self._checked = now
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
        number, event = _decode(frame)
        if number <= self._last:
            return []
        if number > self._last + 1 or self._overflowed:
            self._overflowed = False
            return await self._replayed()
        return [(number, event)]

    async def _replayed(self) -> list[Frame]:
        try:
            return await self._stream.frames_after(self.job_id, self._last)
        except Unavailable as error:
            if time.monotonic() - self._quiet_since < UNSERVED_SECONDS:
                log.warning("job %s: %s", self.job_id, error.message)
                return []
            return [self._failed(error)]

    async def _check_job(self) -> list[Frame]:
        """Send the job again if its worker or message was lost, and fail it if no worker can serve it."""
        try:
            found = await self._stream.task_of(self.job_id)
            if found is None:
                return [self._failed(Unavailable("The job's record is gone.", code="job_lost"))]
            if await to_thread.run_sync(self._stream.producer.revive, self.job_id):
                log.warning("job %s was lost and has been sent again", self.job_id)
            elif not self.keep_job and await self._is_unserved(*found):
                await to_thread.run_sync(self._stream.producer.fail_unserved, self.job_id)
        except (RedisError, OSError, Unavailable) as error:
            log.warning("job %s: Redis does not answer: %s", self.job_id, error)
        return []

    async def _is_unserved(self, task: Task, state: str) -> bool:
        if state != "queued" or time.monotonic() - self._quiet_since < UNSERVED_SECONDS:
            return False
        return not await self._stream.workers(task.queue.role)

    def _failed(self, error: Unavailable) -> Frame:
        info: ErrorInfo = error.info
        return self._last + 1, events.Failed(job_id=self.job_id, attempt=0, created=time.time(), error=info)


async def _with_time_limit(reply: Awaitable[Any]) -> Any:
    """Return the reply of Redis, or raise TimeoutError after REPLY_SECONDS.

    The client's own limits do not apply while it connects to a Redis that hangs.
    """
    async with asyncio.timeout(REPLY_SECONDS):
        return await reply


def _decode(frame: bytes) -> Frame:
    number, payload = events.split_frame(frame)
    return number, events.decode(payload)


def _unavailable() -> Unavailable:
    return Unavailable(
        "The queue (Redis) does not answer. Try again in a moment.", code="queue_unavailable", retry_after_seconds=5
    )
