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
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread
from redis.exceptions import RedisError

from core import events
from core.errors import Unavailable
from core.keys import DEFAULT_OWNER
from core.settings import Settings
from tasks.jobs.keys import channel, events_key, job_key, worker_key
from tasks.jobs.kinds import JobKind, kind_named
from tasks.jobs.presence import WorkerPresence
from tasks.jobs.producer import Producer, live_workers
from tasks.jobs.queue_view import QueuedJob, QueueView, Waiting, Workers
from tasks.jobs.queues import Role, Task
from tasks.jobs.reader import UNSERVED_SECONDS, Frame, JobReader, decode_frame, unavailable, with_time_limit
from tasks.jobs.records import HEARTBEAT_TTL_SECONDS, MISSED_HEARTBEAT_SECONDS, READ_TTL_SECONDS
from tasks.jobs.redis_client import MAX_ASYNC_CONNECTIONS, connect_async

log = logging.getLogger(__name__)

#: Threads for calls of the producer, and further ones for cancellations.
MAX_THREADS = 32
MAX_CANCEL_THREADS = 8
#: Readers that ask Redis at the same time: fewer than there are connections.
MAX_ASKING = MAX_ASYNC_CONNECTIONS // 2
#: How long a view of the queues is used.
QUEUE_VIEW_SECONDS = 0.5
#: How often readers are told the time, and whether the workers are as before.
TICK_SECONDS = 1.0
#: After a worker has gone, or publications may have been lost, readers check their jobs often for this time. It is long
#: enough for the heartbeats of a lost worker's jobs to expire and to be missed.
SUSPICION_SECONDS = HEARTBEAT_TTL_SECONDS + MISSED_HEARTBEAT_SECONDS + 4 * TICK_SECONDS

ResultT = TypeVar("ResultT")


class JobStream:
    """Submits jobs and reads their events. One per process; call `start` and `close` on the event loop."""

    def __init__(self, settings: Settings, producer: Producer | None = None) -> None:
        self._producer = producer or Producer(settings)
        self._redis = connect_async(settings)
        self._pubsub_redis = connect_async(settings, listens=True)
        self._pubsub: Any = self._pubsub_redis.pubsub(ignore_subscribe_messages=True)
        self._readers: dict[bytes, set[JobReader]] = {}
        self._subscribed = asyncio.Event()
        #: Held while the pub/sub connection may be opened. redis-py opens several if several tasks use it at once.
        self._connecting = asyncio.Lock()
        #: The channels that are subscribed to.
        self._channels: set[bytes] = set()
        # Not the threads of the whole API, which may all wait for the catalog: a cancellation frees a slot at once.
        self._threads, self._cancel_threads = CapacityLimiter(MAX_THREADS), CapacityLimiter(MAX_CANCEL_THREADS)
        # Not the connections of readers, all of which may be in use.
        self.presence = WorkerPresence(self._pubsub_redis)
        #: Held by readers while they ask Redis. Hundreds at once would wait for a connection until their time is over.
        self._turns = asyncio.Semaphore(MAX_ASKING)
        self._suspicious_until = 0.0
        #: Reads what waits and runs.
        self._queue = QueueView(self._redis)
        #: The last view of the queues, and until when it is used.
        self._viewed: tuple[float, tuple[list[QueuedJob], Workers] | None] = (0.0, None)
        self._viewing = asyncio.Lock()
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
            await self.in_thread(self._producer.warm_up)
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
        key: str = "",
        owner: str = DEFAULT_OWNER,
        deadline_seconds: float | None = None,
        model: str = "",
    ) -> int:
        """Write the record and send the task, in a thread. Return the position in the queue.

        `model` is the slug of the language model that is to do the job.

        Raises:
            Unavailable: if Redis does not answer or the queue is full.
        """

        def send() -> int:
            return self._producer.submit(
                job_id,
                kind,
                request,
                durable=durable,
                key=key,
                owner=owner,
                deadline_seconds=deadline_seconds,
                model=model,
            )

        readers = self._readers.get(channel(job_id).encode(), set())
        # Set before the job is sent, so that it is cancelled if its client leaves meanwhile.
        for reader in readers:
            reader.submitted = True
        try:
            return await self.in_thread(send)
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
        return await to_thread.run_sync(self._producer.cancel, job_id, limiter=self._cancel_threads)

    async def forget(self, job_id: str) -> None:
        """Delete the record and the replay of a job soon, because its client has read its end."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in (job_key(job_id), events_key(job_id)):
            pipeline.expire(key, READ_TTL_SECONDS)
        await with_time_limit(pipeline.execute())

    async def position(self, job_id: str) -> int | None:
        """Return the number of jobs that wait before this one, or None if it does not wait."""
        return await self.in_thread(self._producer.position, job_id)

    async def turns(self) -> tuple[dict[str, Waiting], int]:
        """Return the turns of the first jobs of each queue, by id, and how many jobs run: see `QueueView`."""
        return await self._queue.turns()

    async def queued_jobs(self) -> tuple[list[QueuedJob], Workers]:
        """Return the jobs that run and wait, and all live workers by role: see `QueueView`.

        However many ask, Redis is asked at most once in QUEUE_VIEW_SECONDS.
        """
        async with self._viewing:
            until, found = self._viewed
            if found is None or time.monotonic() >= until:
                found = await self._queue.jobs()
                self._viewed = time.monotonic() + QUEUE_VIEW_SECONDS, found
            return found

    async def throughput(self) -> tuple[int, list[dict[str, int]]]:
        """Return the present minute, and the counts of the last ones up to it: see `QueueView`."""
        return await self._queue.throughput()

    async def ping(self) -> None:
        """Raise `Unavailable` unless Redis answers readers, and would take a new job."""
        try:
            await with_time_limit(self._redis.ping())
        except (RedisError, OSError) as error:
            raise unavailable() from error
        await self.in_thread(self._producer.check_room)

    async def workers(self, role: Role) -> dict[str, dict[str, Any]]:
        """Return the last announcement of each live worker of a role, by name.

        Raises:
            Unavailable: if Redis does not answer.
        """
        try:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hgetall(worker_key(role))
            pipeline.time()
            return live_workers(*await with_time_limit(pipeline.execute()))
        except (RedisError, OSError) as error:
            raise unavailable() from error

    # For the readers

    async def in_thread(self, function: Callable[..., ResultT], *args: Any) -> ResultT:
        """Run a function of the producer in a thread."""
        return await to_thread.run_sync(function, *args, limiter=self._threads)

    async def frames_after(self, job_id: str, number: int) -> list[Frame]:
        """Return the events of the replay with sequence numbers above `number`.

        Raises:
            Unavailable: if Redis does not answer.
        """
        try:
            async with self._turns:
                if self.presence.unanswered_seconds() >= UNSERVED_SECONDS:
                    raise unavailable()  # so that those who wait for their turn need not wait for their time limit too
                return await self._frames_after(job_id, number)
        except (RedisError, OSError) as error:
            raise unavailable() from error

    async def _frames_after(self, job_id: str, number: int) -> list[Frame]:
        if number == 0:  # each request starts with this, so it takes one round trip
            return [
                decode_frame(frame) for frame in await with_time_limit(self._redis.lrange(events_key(job_id), 0, -1))
            ]
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.lindex(events_key(job_id), 0)
        pipeline.llen(events_key(job_id))
        first, length = await with_time_limit(pipeline.execute())
        if first is None:
            return []
        offset = max(0, number + 1 - events.split_frame(first)[0])
        if offset >= length:
            return []
        raw = await with_time_limit(self._redis.lrange(events_key(job_id), offset, -1))
        return [decode_frame(frame) for frame in raw]

    async def task_of(self, job_id: str) -> tuple[Task, str, str] | None:
        """Return a job's task, its state and the slug of its model, or None if its record is gone."""
        async with self._turns:
            found = await with_time_limit(self._redis.hmget(job_key(job_id), "kind", "task", "state", "model"))
        if found[0] is None:
            return None
        kind, task, state, model = ((value or b"").decode() for value in found)
        return kind_named(kind).task_named(task), state, model

    async def subscribe(self, reader: JobReader) -> None:
        """Add a reader, and subscribe to its job's channel if it is the first one."""
        name = channel(reader.job_id).encode()
        readers = self._readers.setdefault(name, set())
        readers.add(reader)
        try:
            async with self._connecting:
                if name not in self._channels:
                    await with_time_limit(self._pubsub.subscribe(name))
                    self._channels.add(name)
        except BaseException:
            readers.discard(reader)
            if not readers:
                self._readers.pop(name, None)
            raise
        self._subscribed.set()

    async def unsubscribe(self, reader: JobReader) -> None:
        """Remove a reader, and unsubscribe from its job's channel if it was the last one."""
        name = channel(reader.job_id).encode()
        readers = self._readers.get(name, set())
        readers.discard(reader)
        if not readers and self._readers.pop(name, None) is not None:
            async with self._connecting:
                if name not in self._readers:
                    self._channels.discard(name)
                    await with_time_limit(self._pubsub.unsubscribe(name))

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
                self._suspect()
                await self._pubsub.connection.disconnect(nowait=True)
                await asyncio.sleep(0.2)

    async def _receive(self) -> None:
        """Pass one published event on to its readers.

        It is read from the connection itself, since what `get_message` adds to each token of each stream costs more
        than the read.
        """
        connection = self._pubsub.connection
        if not connection.is_connected:
            async with self._connecting:
                await connection.connect()
        reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False, push_request=True)
        if reply[0] == b"message":
            for reader in self._readers.get(reply[1], ()):
                reader.push(reply[2])
        else:
            await self._pubsub.handle_message(reply)  # a confirmation of (un)subscribing

    async def _tick_readers(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await self._subscribed.wait()
            if not await self._workers_are_as_before():
                self._suspect()
            now = time.monotonic()
            often = now < self._suspicious_until or not self.presence.all_roles_are_served
            for readers in list(self._readers.values()):
                for reader in readers:
                    reader.tick(now, often=often)

    async def _workers_are_as_before(self) -> bool:
        try:
            return await self.presence.refresh()
        except (RedisError, OSError) as error:
            log.warning("the workers are unknown: Redis does not answer: %s", error)
            return False

    def _suspect(self) -> None:
        """Make the readers check their jobs often for a while."""
        self._suspicious_until = time.monotonic() + SUSPICION_SECONDS
