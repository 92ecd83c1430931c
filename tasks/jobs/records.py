"""Job records and events in Redis, blocking. Submitting, claiming, appending and retrying are one atomic script each.

An interactive job exists only here. A durable one has a catalog row too, from which its record can be created again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from core import events
from core.ids import new_id
from core.keys import DEFAULT_OWNER
from core.messages import Hit, Usage
from core.settings import Settings
from tasks.jobs import scripts
from tasks.jobs.changes import ChangePublisher
from tasks.jobs.drain_time import drain_seconds
from tasks.jobs.job_record import NO_MODEL, RECORD_FIELDS, JobRecord, ServedModel, record_of
from tasks.jobs.keys import (
    CANCEL_CHANNEL,
    active_key,
    channel,
    durations_key,
    events_key,
    finished_key,
    heartbeat_key,
    job_key,
    waiting_key,
)
from tasks.jobs.kinds import JobKind
from tasks.jobs.queues import Task
from tasks.jobs.redis_client import connect

HEARTBEAT_SECONDS = 2.0
HEARTBEAT_TTL_SECONDS = 5
#: A worker is lost if its heartbeat was missing for this time, in which a live worker would have renewed it.
MISSED_HEARTBEAT_SECONDS = HEARTBEAT_SECONDS + 0.5
#: How often the message of a job that waits may be sent again: if its queue is empty, and if the queue holds messages.
RESEND_SECONDS = 10.0
RESEND_BEHIND_SECONDS = 60.0
#: How long the record and the replay of an interactive job are kept after its client has read its end, or has left.
READ_TTL_SECONDS = 60
#: The hint that a job has begun to wait, has been taken, or has ended. It has no ids, since most jobs are short.
QUEUE_CHANGED: dict[str, tuple[str, ...]] = {"queue": ()}
#: The events that a replay holds. More than the longest answer has tokens, since another worker resumes from them.
REPLAY_CAP = 65_536


@dataclass(frozen=True)
class Append:
    """Events of one attempt at a job, which are appended and published together."""

    job_id: str
    attempt: int
    events: Sequence[events.AnyEvent]
    #: The name of the queue that the job has waited in.
    queue: str
    state: str = ""
    #: The claim of the worker that appends, and the number of this append among those of the claim, from 1. An append
    #: that is repeated with its number is stored once. Others than the job's worker state neither.
    claim: str = ""
    number: int = 0

    @cached_property
    def payloads(self) -> list[bytes]:
        """The encoded events. Raise the encoder's error if one cannot be encoded."""
        return [events.encode(event) for event in self.events]

    @property
    def tokens(self) -> int:
        """The number of tokens that were generated for these events."""
        return sum(len(getattr(event, "token_ids", ())) for event in self.events)


@dataclass(frozen=True)
class Appended:
    """The outcome of an `Append`. `accepted` is False if the attempt was replaced, or the job is done or expired."""

    accepted: bool
    cancelled: bool
    last_sequence: int


class QueueFull(Exception):
    """As many jobs wait as the queue admits."""


class JobRecords:
    """Reads and writes job records. Thread-safe.

    Every method raises `redis.RedisError` if Redis does not answer within two seconds.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.redis = connect(settings)
        self.changes = ChangePublisher(self.redis)
        self._append = self.redis.register_script(scripts.APPEND)
        self._submit = self.redis.register_script(scripts.SUBMIT)
        self._claim = self.redis.register_script(scripts.CLAIM)
        self._store = self.redis.register_script(scripts.STORE)
        self._hand_over = self.redis.register_script(scripts.HAND_OVER)
        self._renew = self.redis.register_script(scripts.RENEW)
        self._retry = self.redis.register_script(scripts.RETRY)
        self._release = self.redis.register_script(scripts.RELEASE)
        self._is_lost = self.redis.register_script(scripts.IS_LOST)
        self._resend = self.redis.register_script(scripts.RESEND)

    def submit(
        self,
        job_id: str,
        kind: JobKind,
        request: msgspec.Struct | bytes,
        *,
        durable: bool = False,
        key: str = "",
        owner: str = DEFAULT_OWNER,
        deadline_seconds: float | None = None,
        model: str = "",
    ) -> int:
        """Write the record of a new job and emit `Queued`. Return the number of jobs that wait before it.

        Raises:
            QueueFull: if the job is interactive and `MAX_QUEUED_JOBS` jobs wait.
        """
        fields: dict[str, Any] = {
            "kind": kind.name,
            "task": kind.task.name,
            "request": request if isinstance(request, bytes) else msgspec.json.encode(request),
            "attempt": 1,
            "state": "queued",
            "durable": int(durable),
            "key": key,
            "owner": owner,
            "model": model,
        }
        flat = [part for item in fields.items() for part in item]
        limit = 0 if durable else self._settings.max_queued_jobs
        # An interactive job that nobody has taken by its deadline no longer waits: its submitter died or gave up.
        waits = self._settings.job_retention_seconds if durable else self._settings.request_timeout_seconds
        queued = events.encode(events.Queued(job_id=job_id, attempt=1, position=0))
        queue = kind.task.queue_for(durable=durable).of_model(model)
        keys = [job_key(job_id), waiting_key(queue), events_key(job_id)]
        args = [self._ttl(durable), limit, waits, job_id, channel(job_id), queued, deadline_seconds or "", *flat]
        position = int(self._submit(keys=keys, args=args))
        if position < 0:
            raise QueueFull
        self.changes(QUEUE_CHANGED)
        return position

    def load(self, job_id: str) -> JobRecord | None:
        """Return the record of a job, or None if it does not exist or has expired."""
        return record_of(job_id, self.redis.hmget(job_key(job_id), RECORD_FIELDS))

    def load_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records of several jobs, as `load` does, in one round trip."""
        pipeline = self.redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hmget(job_key(job_id), RECORD_FIELDS)
        return [record_of(job_id, values) for job_id, values in zip(job_ids, pipeline.execute(), strict=True)]

    def claim(
        self, job_id: str, task: Task, claim: str = "", served: ServedModel = NO_MODEL
    ) -> tuple[JobRecord, bytes] | None:
        """Claim a job that is queued for this task, and set its first heartbeat.

        A call that is repeated with the same new id as `claim` succeeds again. A worker that serves a language model
        gets jobs for that model, and jobs that any may do: these are for its model from then on.

        Return its record, whose times are by the clock of this host, and the JSON of its request, or None if there is
        no such job to claim.
        """
        fields = [*RECORD_FIELDS, "request"]
        keys = [job_key(job_id), heartbeat_key(job_id)]
        for durable in (False, True):
            queue = task.queue_for(durable=durable)
            own = queue.of_model(served.slug)
            keys += (waiting_key(queue), waiting_key(own), active_key(own))
        args = [HEARTBEAT_TTL_SECONDS, task.name, claim or new_id("claim"), served.slug, served.digest]
        claimed = self._claim(keys=keys, args=[*args, job_id, *fields])
        if not claimed:
            return None
        clock, values = claimed
        record = record_of(job_id, values[:-1])
        if record is None:
            return None
        return record.by_clock(time.time() - float(clock)), values[-1]

    def append(self, item: Append) -> Appended:
        """Append and publish the events of one job."""
        return self.append_many([item])[0]

    def append_many(self, items: Sequence[Append]) -> list[Appended]:
        """Append and publish the events of several jobs in one round trip."""
        keys: list[str] = []
        args: list[Any] = [self._settings.job_ttl_seconds, REPLAY_CAP, READ_TTL_SECONDS]
        moved, tokens, ended = False, 0, 0
        for item in items:
            keys += (job_key(item.job_id), events_key(item.job_id), waiting_key(item.queue), finished_key(item.queue))
            keys += (active_key(item.queue), durations_key(item.queue))
            terminal = bool(item.events) and events.is_terminal(item.events[-1])
            state = "done" if terminal else item.state
            moved, tokens, ended = moved or bool(state), tokens + item.tokens, ended + terminal
            # Between these events the heartbeat renews the TTL: to do it for each text delta would be costly.
            renew = bool(state) or not all(isinstance(event, events.TextDelta) for event in item.events)
            args += (item.attempt, item.claim, item.number, channel(item.job_id), item.job_id, state)
            args += (int(terminal), int(renew), item.tokens)
            args += (len(item.events), *item.payloads)
        results = self._append(keys=keys, args=args) if items else []
        if moved:
            self.changes(QUEUE_CHANGED)
        self.changes.count(jobs=ended, completion_tokens=tokens)
        return [Appended(status >= 0, status == 1, last) for status, last in results]

    def replay(self, job_id: str) -> list[tuple[int, events.AnyEvent]]:
        """Return the events of the replay with their sequence numbers."""
        frames = (events.split_frame(frame) for frame in self.redis.lrange(events_key(job_id), 0, -1))
        return [(number, events.decode(payload)) for number, payload in frames]

    def hand_over(self, record: JobRecord, task: Task) -> bool:
        """Queue a claimed job for another task. Return False if another worker has the job.

        A later attempt starts with that task too.
        """
        next_queue = task.queue_for(durable=record.durable).of_model(record.model)
        waiting = [waiting_key(record.queue_name), waiting_key(next_queue)]
        args = [record.attempt, record.claim, record.job_id, task.name]
        keys = [job_key(record.job_id), *waiting, active_key(record.queue_name)]
        return bool(self._hand_over(keys=keys, args=args))

    def forget(self, job_id: str) -> None:
        """Delete the record and the replay of a job soon, because its end has been read."""
        for key in (job_key(job_id), events_key(job_id)):
            self.redis.expire(key, READ_TTL_SECONDS)

    def next_waiting(self, queue: str, limit: int) -> list[str]:
        """Return the ids of the jobs that have waited longest in a queue."""
        return [job_id.decode() for job_id in self.redis.zrange(waiting_key(queue), 0, limit - 1)]

    def store(self, record: JobRecord, fields: Mapping[str, str | bytes | float]) -> bool:
        """Store fields of a claimed job for the task that continues it. Return False if another worker has the job."""
        flat = [part for item in fields.items() for part in item]
        return bool(self._store(keys=[job_key(record.job_id)], args=[record.attempt, record.claim, *flat]))

    def store_rewrite(self, record: JobRecord, query: str | None, usage: Usage) -> bool:
        """Store the rewritten follow-up question, or None if it could not be rewritten, and the tokens used.

        Return False if another worker has the job.
        """
        return self.store(record, {"rewrite": query or "", "rewrite_usage": msgspec.json.encode(usage)})

    def load_rewrite_usage(self, job_id: str) -> Usage:
        """Return the tokens used by the rewrite, or no tokens if there was none."""
        found = self.redis.hget(job_key(job_id), "rewrite_usage")
        return Usage() if found is None else msgspec.json.decode(found, type=Usage)

    def load_rewrite(self, job_id: str) -> str | None:
        """Return the rewritten question, "" if it could not be rewritten, or None if that has not been tried."""
        found = self.redis.hget(job_key(job_id), "rewrite")
        return None if found is None else found.decode()

    def store_hits(self, record: JobRecord, hits: Sequence[Hit], retrieval_ms: float) -> bool:
        """Store the hits of a RAG chat for the worker that generates its answer.

        Return False if another worker has the job.
        """
        return self.store(record, {"hits": msgspec.json.encode(list(hits)), "retrieval_ms": retrieval_ms})

    def load_hits(self, job_id: str) -> tuple[list[Hit], float]:
        """Return the stored hits and the milliseconds that the search took."""
        hits, retrieval_ms = self.redis.hmget(job_key(job_id), "hits", "retrieval_ms")
        return (msgspec.json.decode(hits, type=list[Hit]), float(retrieval_ms)) if hits else ([], 0.0)

    def retry(self, record: JobRecord) -> int | None:
        """Replace a lost attempt. Return the number of the new one, or None if the job is done or has a new one."""
        keys = [job_key(record.job_id), waiting_key(record.queue_name), active_key(record.queue_name)]
        return int(self._retry(keys=keys, args=[record.attempt, record.job_id, record.task.name])) or None

    def release(self, record: JobRecord) -> bool:
        """Queue a claimed job again, which costs it no attempt. Return False if another worker has the job."""
        keys = [job_key(record.job_id), waiting_key(record.queue_name), heartbeat_key(record.job_id)]
        keys.append(active_key(record.queue_name))
        return bool(self._release(keys=keys, args=[record.attempt, record.claim, record.job_id]))

    def is_lost(self, record: JobRecord) -> bool:
        """Return whether the worker that has taken this attempt at a job is lost.

        That is so if two calls, at least MISSED_HEARTBEAT_SECONDS apart, find no heartbeat, and none came in between.
        """
        keys = [job_key(record.job_id), heartbeat_key(record.job_id)]
        return bool(self._is_lost(keys=keys, args=[record.attempt, MISSED_HEARTBEAT_SECONDS]))

    def may_resend(self, record: JobRecord) -> bool:
        """Return whether to send the message of a job again, because it is queued and its message may be lost.

        That is so at most once in RESEND_SECONDS for each job, or in RESEND_BEHIND_SECONDS if its queue holds messages.
        """
        keys = [job_key(record.job_id), record.queue_name]
        return bool(self._resend(keys=keys, args=[RESEND_SECONDS, RESEND_BEHIND_SECONDS]))

    def cancel(self, job_id: str) -> bool:
        """Mark a job as cancelled and notify the workers. Return False if the job is done or unknown."""
        record = self.load(job_id)
        if record is None or record.done:
            return False
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.hset(job_key(job_id), "cancel", 1)
        pipeline.zrem(waiting_key(record.queue_name), job_id)
        pipeline.publish(CANCEL_CHANNEL, job_id)
        pipeline.execute()
        self.changes(QUEUE_CHANGED)
        return True

    def position(self, record: JobRecord) -> int | None:
        """Return the number of jobs that wait before this one, or None if it does not wait."""
        rank = self.redis.zrank(waiting_key(record.queue_name), record.job_id)
        return None if rank is None else int(rank)

    def drain_seconds(self, queue: str) -> float:
        """Return the estimated seconds until the jobs that wait in a queue are done, at the rate of the last jobs."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.lrange(finished_key(queue), 0, -1)
        pipeline.zcard(waiting_key(queue))
        pipeline.time()
        finished, waiting, (seconds, microseconds) = pipeline.execute()
        return drain_seconds([float(ended) for ended in finished], int(waiting), seconds + microseconds / 1e6)

    def renew_heartbeats(self, records: Sequence[JobRecord]) -> list[bool]:
        """Renew the heartbeats of claimed jobs, and the TTL of the records and replays of interactive ones.

        Return for each job whether its worker still has it.
        """
        keys: list[str] = []
        args: list[Any] = [HEARTBEAT_TTL_SECONDS, self._settings.job_ttl_seconds]
        for record in records:
            keys += (job_key(record.job_id), events_key(record.job_id), heartbeat_key(record.job_id))
            args += (record.attempt, record.claim)
        return [bool(current) for current in self._renew(keys=keys, args=args)] if records else []

    def is_current(self, record: JobRecord) -> bool:
        """Return whether the worker that claimed this record still has the job."""
        attempt, claim = self.redis.hmget(job_key(record.job_id), "attempt", "claim")
        return bool(attempt == str(record.attempt).encode() and claim == record.claim.encode())

    def _ttl(self, durable: bool) -> int:
        return self._settings.job_retention_seconds if durable else self._settings.job_ttl_seconds
