"""Job records and events in Redis, blocking. Submitting, claiming, appending and retrying are one atomic script each.

An interactive job exists only here. A durable one has a catalog row too, from which its record can be created again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from core import events
from core.messages import Hit, Usage
from core.settings import Settings
from tasks.jobs.drain_time import drain_seconds
from tasks.jobs.keys import CANCEL_CHANNEL, channel, events_key, finished_key, heartbeat_key, job_key, waiting_key
from tasks.jobs.kinds import JobKind, kind_named
from tasks.jobs.queues import Queue, Task
from tasks.jobs.redis_client import connect

HEARTBEAT_SECONDS = 2.0
HEARTBEAT_TTL_SECONDS = 5
#: The events that a replay holds. More than the longest answer has tokens, since another worker resumes from them.
REPLAY_CAP = 65_536
#: The fields of a `JobRecord`. The request is read by a claim only, as it may be large.
RECORD_FIELDS = ("kind", "task", "attempt", "state", "durable", "key", "submitted", "deadline", "cancel", "done")

# One call appends the events of all jobs of an engine step. KEYS: job, events, waiting, finished of each job. ARGV:
# TTL, cap, then for each job: attempt, channel, job id, new state or '', whether the last event is terminal, whether to
# renew the TTL, number of events, event...
# Returns {status, last sequence number} of each: 0 appended, 1 appended but cancelled, -1 refused.
_APPEND = """
local function append(keys, at)
  local attempt, state, count = ARGV[at], ARGV[at + 3], tonumber(ARGV[at + 6])
  local job = redis.call('HMGET', keys[1], 'attempt', 'done', 'cancel', 'seq')
  if not job[1] or tonumber(job[1]) ~= tonumber(attempt) or job[2] then return {-1, 0} end
  local seq = tonumber(job[4] or '0')
  for i = at + 7, at + 6 + count do
    seq = seq + 1
    local frame = seq .. ' ' .. ARGV[i]
    redis.call('RPUSH', keys[2], frame)
    redis.call('PUBLISH', ARGV[at + 1], frame)
  end
  if seq > tonumber(ARGV[2]) then redis.call('LTRIM', keys[2], -tonumber(ARGV[2]), -1) end
  redis.call('HSET', keys[1], 'seq', seq)
  if state ~= '' then redis.call('HSET', keys[1], 'state', state) end
  if state == 'running' or state == 'done' then redis.call('ZREM', keys[3], ARGV[at + 2]) end
  if ARGV[at + 4] == '1' then
    redis.call('HSET', keys[1], 'done', 1)
    redis.call('HDEL', keys[1], 'request', 'hits')
    local clock = redis.call('TIME')
    redis.call('LPUSH', keys[4], clock[1] .. '.' .. string.format('%06d', clock[2]))
    redis.call('LTRIM', keys[4], 0, 31)
  end
  if ARGV[at + 5] == '1' then
    redis.call('EXPIRE', keys[1], ARGV[1])
    redis.call('EXPIRE', keys[2], ARGV[1])
  end
  return {job[3] and 1 or 0, seq}
end
local results, at = {}, 3
for k = 1, #KEYS, 4 do
  results[#results + 1] = append({KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]}, at)
  at = at + 7 + ARGV[at + 6]
end
return results
"""

# KEYS: job, waiting, events. ARGV: TTL, limit (0: none), now, job id, channel, TTL of events, a `Queued` event, then
# field, value, ... Emits `Queued` with the job's position, and returns the position, or -1 if the queue is full.
_SUBMIT = """
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', tonumber(ARGV[3]) - tonumber(ARGV[1]))
local waiting = redis.call('ZCARD', KEYS[2])
if tonumber(ARGV[2]) > 0 and waiting >= tonumber(ARGV[2]) then return -1 end
if redis.call('EXISTS', KEYS[1]) == 1 then return waiting end
local fields = {}
for i = 8, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', KEYS[1], 'seq', 1, unpack(fields))
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4])
local queued = cjson.decode(ARGV[7])
queued.position = waiting
local frame = '1 ' .. cjson.encode(queued)
redis.call('DEL', KEYS[3])
redis.call('RPUSH', KEYS[3], frame)
redis.call('EXPIRE', KEYS[3], ARGV[6])
redis.call('PUBLISH', ARGV[5], frame)
return waiting
"""

# KEYS: job, heartbeat. ARGV: heartbeat TTL, task, field, field... Claims a job that is queued for this task. Returns
# the values of the fields, or nil if the job is taken or queued for a later task, because its message came twice.
_CLAIM = """
local job = redis.call('HMGET', KEYS[1], 'state', 'done', 'task')
if job[1] ~= 'queued' or job[2] or job[3] ~= ARGV[2] then return false end
redis.call('HSET', KEYS[1], 'state', 'taken')
redis.call('SET', KEYS[2], 1, 'EX', ARGV[1])
return redis.call('HMGET', KEYS[1], unpack(ARGV, 3))
"""

# KEYS: job, waiting. ARGV: the attempt that was lost, now, job id, task. Returns the number of the new attempt, or 0 if
# the job is done or has a new attempt already. The task is written too, as its name may be that of an earlier release.
_RETRY = """
local job = redis.call('HMGET', KEYS[1], 'attempt', 'done')
if not job[1] or job[2] or tonumber(job[1]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'state', 'queued', 'submitted', ARGV[2], 'task', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
return redis.call('HINCRBY', KEYS[1], 'attempt', 1)
"""


@dataclass(frozen=True)
class JobRecord:
    """The record of a job in Redis, without its request. `submitted` and `deadline` are Unix seconds."""

    job_id: str
    kind: JobKind
    task: Task
    attempt: int
    state: str
    durable: bool
    key: str
    submitted: float
    deadline: float | None
    cancelled: bool
    done: bool

    @property
    def queue(self) -> Queue:
        return self.task.queue_for(durable=self.durable)


@dataclass(frozen=True)
class Append:
    """Events of one attempt at a job, which are appended and published together."""

    job_id: str
    attempt: int
    events: Sequence[events.AnyEvent]
    queue: Queue
    state: str = ""


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
        self._append = self.redis.register_script(_APPEND)
        self._submit = self.redis.register_script(_SUBMIT)
        self._claim = self.redis.register_script(_CLAIM)
        self._retry = self.redis.register_script(_RETRY)

    def submit(
        self,
        job_id: str,
        kind: JobKind,
        request: msgspec.Struct | bytes,
        *,
        durable: bool = False,
        key: str = "",
        deadline: float | None = None,
    ) -> int:
        """Write the record of a new job and emit `Queued`. Return the number of jobs that wait before it.

        Raises:
            QueueFull: if the job is interactive and `MAX_QUEUED_JOBS` jobs wait.
        """
        now = time.time()
        fields: dict[str, Any] = {
            "kind": kind.name,
            "task": kind.task.name,
            "request": request if isinstance(request, bytes) else msgspec.json.encode(request),
            "attempt": 1,
            "state": "queued",
            "durable": int(durable),
            "key": key,
            "submitted": now,
            "deadline": deadline or "",
        }
        flat = [part for item in fields.items() for part in item]
        limit = 0 if durable else self._settings.max_queued_jobs
        queued = events.encode(events.Queued(job_id=job_id, attempt=1, created=now, position=0))
        keys = [job_key(job_id), waiting_key(kind.task.queue_for(durable=durable)), events_key(job_id)]
        event = [channel(job_id), self._settings.job_ttl_seconds, queued]
        position = int(self._submit(keys=keys, args=[self._ttl(durable), limit, now, job_id, *event, *flat]))
        if position < 0:
            raise QueueFull
        return position

    def load(self, job_id: str) -> JobRecord | None:
        """Return the record of a job, or None if it does not exist or has expired."""
        return _record(job_id, self.redis.hmget(job_key(job_id), RECORD_FIELDS))

    def claim(self, job_id: str, task: Task) -> tuple[JobRecord, bytes] | None:
        """Claim a job that is queued for this task, and set its first heartbeat.

        Return its record and the JSON of its request, or None if there is no such job to claim.
        """
        keys = [job_key(job_id), heartbeat_key(job_id)]
        values = self._claim(keys=keys, args=[HEARTBEAT_TTL_SECONDS, task.name, *RECORD_FIELDS, "request"])
        record = _record(job_id, values[:-1]) if values else None
        return None if record is None else (record, values[-1])

    def append(self, item: Append) -> Appended:
        """Append and publish the events of one job."""
        return self.append_many([item])[0]

    def append_many(self, items: Sequence[Append]) -> list[Appended]:
        """Append and publish the events of several jobs in one round trip."""
        keys: list[str] = []
        args: list[Any] = [self._settings.job_ttl_seconds, REPLAY_CAP]
        for item in items:
            keys += (job_key(item.job_id), events_key(item.job_id), waiting_key(item.queue), finished_key(item.queue))
            terminal = bool(item.events) and events.is_terminal(item.events[-1])
            state = "done" if terminal else item.state
            # Between these events the heartbeat renews the TTL: to do it for each text delta would be costly.
            renew = bool(state) or not all(isinstance(event, events.TextDelta) for event in item.events)
            args += (item.attempt, channel(item.job_id), item.job_id, state, int(terminal), int(renew))
            args += (len(item.events), *(events.encode(event) for event in item.events))
        results = self._append(keys=keys, args=args) if items else []
        return [Appended(status >= 0, status == 1, last) for status, last in results]

    def replay(self, job_id: str) -> list[tuple[int, events.AnyEvent]]:
        """Return the events of the replay with their sequence numbers."""
        frames = (events.split_frame(frame) for frame in self.redis.lrange(events_key(job_id), 0, -1))
        return [(number, events.decode(payload)) for number, payload in frames]

    def next_task(self, record: JobRecord, task: Task) -> None:
        """Queue a job for another task. A later attempt starts with that task too."""
        now = time.time()
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.hset(job_key(record.job_id), mapping={"task": task.name, "state": "queued", "submitted": now})
        pipeline.zrem(waiting_key(record.queue), record.job_id)
        pipeline.zadd(waiting_key(task.queue_for(durable=record.durable)), {record.job_id: now})
        pipeline.execute()

    def next_waiting(self, queue: Queue, limit: int) -> list[str]:
        """Return the ids of the jobs that have waited longest in a queue."""
        return [job_id.decode() for job_id in self.redis.zrange(waiting_key(queue), 0, limit - 1)]

    def store_rewrite(self, job_id: str, query: str | None, usage: Usage) -> None:
        """Store the rewritten follow-up question, or None if it could not be rewritten, and the tokens used."""
        fields = {"rewrite": query or "", "rewrite_usage": msgspec.json.encode(usage)}
        self.redis.hset(job_key(job_id), mapping=fields)

    def load_rewrite_usage(self, job_id: str) -> Usage:
        """Return the tokens used by the rewrite, or no tokens if there was none."""
        found = self.redis.hget(job_key(job_id), "rewrite_usage")
        return Usage() if found is None else msgspec.json.decode(found, type=Usage)

    def load_rewrite(self, job_id: str) -> str | None:
        """Return the rewritten question, "" if it could not be rewritten, or None if that has not been tried."""
        found = self.redis.hget(job_key(job_id), "rewrite")
        return None if found is None else found.decode()

    def store_hits(self, job_id: str, hits: Sequence[Hit], retrieval_ms: float) -> None:
        """Store the hits of a RAG chat for the worker that generates its answer."""
        fields = {"hits": msgspec.json.encode(list(hits)), "retrieval_ms": retrieval_ms}
        self.redis.hset(job_key(job_id), mapping=fields)

    def load_hits(self, job_id: str) -> tuple[list[Hit], float]:
        """Return the stored hits and the milliseconds that the search took."""
        hits, retrieval_ms = self.redis.hmget(job_key(job_id), "hits", "retrieval_ms")
        return (msgspec.json.decode(hits, type=list[Hit]), float(retrieval_ms)) if hits else ([], 0.0)

    def retry(self, record: JobRecord) -> int | None:
        """Replace a lost attempt. Return the number of the new one, or None if the job is done or has a new one."""
        keys = [job_key(record.job_id), waiting_key(record.queue)]
        return int(self._retry(keys=keys, args=[record.attempt, time.time(), record.job_id, record.task.name])) or None

    def cancel(self, job_id: str) -> bool:
        """Mark a job as cancelled and notify the workers. Return False if the job is done or unknown."""
        record = self.load(job_id)
        if record is None or record.done:
            return False
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.hset(job_key(job_id), "cancel", 1)
        pipeline.zrem(waiting_key(record.queue), job_id)
        pipeline.publish(CANCEL_CHANNEL, job_id)
        pipeline.execute()
        return True

    def position(self, record: JobRecord) -> int | None:
        """Return the number of jobs that wait before this one, or None if it does not wait."""
        rank = self.redis.zrank(waiting_key(record.queue), record.job_id)
        return None if rank is None else int(rank)

    def drain_seconds(self, queue: Queue) -> float:
        """Return the estimated seconds until the jobs that wait in a queue are done, at the rate of the last jobs."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.lrange(finished_key(queue), 0, -1)
        pipeline.zcard(waiting_key(queue))
        pipeline.time()
        finished, waiting, (seconds, microseconds) = pipeline.execute()
        return drain_seconds([float(ended) for ended in finished], int(waiting), seconds + microseconds / 1e6)

    def renew_heartbeats(self, job_ids: Sequence[str]) -> None:
        """Renew the heartbeats of jobs that a worker runs, and the TTL of their records and replays."""
        pipeline = self.redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.set(heartbeat_key(job_id), 1, ex=HEARTBEAT_TTL_SECONDS)
            # A job that waits long for a slot, or generates for long, must not lose its record.
            for key in (job_key(job_id), events_key(job_id)):
                pipeline.expire(key, self._settings.job_ttl_seconds)
        pipeline.execute()

    def is_alive(self, job_id: str) -> bool:
        """Return whether the job has a heartbeat: a worker that runs it has renewed it in the last 5 s."""
        return bool(self.redis.exists(heartbeat_key(job_id)))

    def _ttl(self, durable: bool) -> int:
        return self._settings.job_retention_seconds if durable else self._settings.job_ttl_seconds


def _record(job_id: str, values: Sequence[bytes | None]) -> JobRecord | None:
    """Return the record with these values of RECORD_FIELDS, or None if the job has no record."""
    raw = {name: value for name, value in zip(RECORD_FIELDS, values, strict=True) if value is not None}
    if "kind" not in raw:
        return None
    deadline = raw["deadline"]
    kind = kind_named(raw["kind"].decode())
    return JobRecord(
        job_id=job_id,
        kind=kind,
        task=kind.task_named(raw["task"].decode()),
        attempt=int(raw["attempt"]),
        state=raw["state"].decode(),
        durable=raw["durable"] == b"1",
        key=raw["key"].decode(),
        submitted=float(raw["submitted"]),
        deadline=float(deadline) if deadline else None,
        cancelled="cancel" in raw,
        done="done" in raw,
    )
