"""The jobs that wait and run, as a person wants to see them, and when those that wait will probably start.

Everything is read from sets whose members are few: of each queue, at most MAX_SHOWN waiting jobs and MAX_SHOWN running
ones, however many wait. A view takes three round trips.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from tasks.jobs.keys import active_key, durations_key, job_key, throughput_key, waiting_key, worker_key
from tasks.jobs.producer import known_slugs, live_workers
from tasks.jobs.queues import Queue, Role, queue_named
from tasks.jobs.reader import unavailable, with_time_limit

#: Jobs of a queue that are shown, of those that wait and of those that run.
MAX_SHOWN = 100
#: Minutes that a report of throughput has.
MINUTES = 60
_FIELDS = ("kind", "owner", "model", "state", "submitted", "started", "generating", "tokens", "durable", "done", "key")
Workers = dict[Role, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Waiting:
    """The turn of a job that waits: how many jobs come before it, and in how many seconds it will probably start."""

    position: int
    #: None: none of the last jobs of its queue says how long one takes, or no worker is there.
    estimated_start_seconds: float | None


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits or runs. `turn` is None once a worker has it."""

    job_id: str
    kind: str
    owner: str
    #: The slug of its language model; "": whichever serves the default one, or it needs none.
    model: str
    durable: bool
    age_seconds: float
    #: How long it has been running; None: it waits.
    running_seconds: float | None
    turn: Waiting | None
    #: The tokens of its answer so far, and how many of them a second there were.
    tokens: int
    tokens_per_second: float | None


@dataclass(frozen=True)
class _QueueState:
    name: str
    waiting: list[str]
    waiting_count: int
    active: list[str]
    durations: list[float]


class QueueView:
    """Reads the queues, for the API's event loop.

    Every method raises `core.errors.Unavailable` if Redis does not answer.
    """

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def turns(self) -> tuple[dict[str, Waiting], int]:
        """Return the turns of the first MAX_SHOWN jobs of each queue, by id, and how many jobs run."""
        workers, _ = await self._workers()
        states = await self._states(workers)
        return _all_turns(states, workers), sum(len(state.active) for state in states)

    async def jobs(self) -> tuple[list[QueuedJob], Workers]:
        """Return the jobs that run and wait, those that run first, and all live workers by role."""
        workers, now = await self._workers()
        states = await self._states(workers)
        turns = _all_turns(states, workers)
        active = {job_id: state.name for state in states for job_id in state.active}
        ids = list(dict.fromkeys([*active, *turns]))
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hmget(job_key(job_id), _FIELDS)
        found = dict(zip(ids, await _answered(pipeline.execute()) if ids else [], strict=True))
        await self._forget({job_id: name for job_id, name in active.items() if found[job_id][0] is None})
        jobs = [_job(job_id, values, now, turns.get(job_id)) for job_id, values in found.items()]
        return [job for job in jobs if job is not None], workers

    async def throughput(self) -> tuple[int, list[dict[str, int]]]:
        """Return the present minute (Unix seconds divided by 60), and the counts of the last MINUTES up to it."""
        seconds, _ = await _answered(self._redis.time())
        last = int(seconds) // 60
        pipeline = self._redis.pipeline(transaction=False)
        for minute in range(last - MINUTES + 1, last + 1):
            pipeline.hgetall(throughput_key(minute))
        counts = await _answered(pipeline.execute())
        return last, [{name.decode(): int(number) for name, number in one.items()} for one in counts]

    async def _workers(self) -> tuple[Workers, float]:
        pipeline = self._redis.pipeline(transaction=False)
        for role in Role:
            pipeline.hgetall(worker_key(role))
        pipeline.time()
        *announced, clock = await _answered(pipeline.execute())
        workers = {role: live_workers(raw, clock) for role, raw in zip(Role, announced, strict=True)}
        return workers, clock[0] + clock[1] / 1e6

    async def _states(self, workers: Workers) -> list[_QueueState]:
        slugs = known_slugs(workers[Role.INFERENCE].values(), workers[Role.SUPERVISOR].values())
        of_models = [queue.of_model(slug) for slug in sorted(slugs) for queue in (Queue.INFERENCE, Queue.BATCH)]
        names = [*(queue.value for queue in Queue), *of_models]
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.zrange(waiting_key(name), 0, MAX_SHOWN - 1)
            pipeline.zcard(waiting_key(name))
            pipeline.zrange(active_key(name), 0, MAX_SHOWN - 1)
            pipeline.lrange(durations_key(name), 0, -1)
        replies = await _answered(pipeline.execute())
        return [_state(name, replies[4 * at : 4 * at + 4]) for at, name in enumerate(names)]

    async def _forget(self, ended: dict[str, str]) -> None:
        """Remove jobs whose records have expired, since nobody is left to end them."""
        if ended:
            pipeline = self._redis.pipeline(transaction=False)
            for job_id, queue in ended.items():
                pipeline.zrem(active_key(queue), job_id)
            await _answered(pipeline.execute())


def _state(name: str, replies: Sequence[Any]) -> _QueueState:
    waiting, count, active, durations = replies
    running = [job_id.decode() for job_id in active]
    # A job that a worker has just taken is in both.
    queued = [job_id for job_id in (one.decode() for one in waiting) if job_id not in set(running)]
    return _QueueState(
        name, queued, int(count) - len(waiting) + len(queued), running, [float(seconds) for seconds in durations]
    )


def _all_turns(states: Sequence[_QueueState], workers: Workers) -> dict[str, Waiting]:
    found: dict[str, Waiting] = {}
    for state in states:
        found.update(zip(state.waiting, _turns(state, states, workers), strict=True))
    return found


def _turns(state: _QueueState, states: Sequence[_QueueState], workers: Workers) -> list[Waiting]:
    """Return the turn of each waiting job of a queue.

    A model's interactive jobs go before its durable ones, and both have the same slots. What any model may do is taken
    by the worker of the default one.
    """
    queue, _, slug = state.name.partition(".")
    together = [state]
    if queue_named(state.name).role is Role.INFERENCE:
        default = {info.get("slug") for info in workers[Role.INFERENCE].values() if info.get("serves_any")}
        slugs = {slug} if slug else {"", *default}
        names = {one.of_model(str(name)) for one in (Queue.INFERENCE, Queue.BATCH) for name in slugs}
        together = [one for one in states if one.name in names]
    interactive = [one for one in together if queue_named(one.name) is Queue.INFERENCE]
    ahead = sum(one.waiting_count for one in interactive) if queue == Queue.BATCH else 0
    active = sum(len(one.active) for one in together)
    durations = state.durations or [seconds for one in together for seconds in one.durations]
    slots = _slots(queue_named(state.name), slug, workers)
    count = len(state.waiting)
    return [Waiting(position, _estimate(position + ahead, active, slots, durations)) for position in range(count)]


def _estimate(before: int, active: int, slots: int, durations: Sequence[float]) -> float | None:
    """Return in how many seconds a job starts that has this many jobs before it."""
    free = max(0, slots - active)
    if slots and before < free:
        return 0.0
    if not slots or not durations:
        return None
    return round((before - free + 1) * sum(durations) / len(durations) / slots, 1)


def _slots(queue: Queue, slug: str, workers: Workers) -> int:
    """Return how many jobs of a queue are worked on at the same time. Of workers without slots, each counts as one."""
    live = workers.get(queue.role, {}).values()
    if queue.role is not Role.INFERENCE:
        return len(live)
    serving = [info for info in live if (info.get("slug") == slug if slug else info.get("serves_any"))]
    return sum(int(info.get("engine", {}).get("slots", 1)) for info in serving)


def _job(job_id: str, values: Sequence[bytes | None], now: float, turn: Waiting | None) -> QueuedJob | None:
    raw = {name: value.decode() for name, value in zip(_FIELDS, values, strict=True) if value is not None}
    if "kind" not in raw or "done" in raw:
        return None
    is_running = raw["state"] != "queued"
    tokens = int(raw.get("tokens", 0))
    seconds = now - float(raw["generating"]) if "generating" in raw else 0.0
    return QueuedJob(
        job_id=job_id,
        kind=raw["kind"],
        owner=raw.get("owner", ""),
        model=raw.get("model", ""),
        durable=raw.get("durable") == "1",
        age_seconds=max(0.0, now - float(raw["submitted"])),
        running_seconds=max(0.0, now - float(raw["started"])) if is_running and "started" in raw else None,
        turn=None if is_running else turn,
        tokens=tokens,
        tokens_per_second=round(tokens / seconds, 1) if is_running and seconds >= 1 else None,
    )


async def _answered(reply: Awaitable[Any]) -> Any:
    try:
        return await with_time_limit(reply)
    except (RedisError, OSError) as error:
        raise unavailable() from error
