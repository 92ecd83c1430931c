"""The metrics of all processes, in Redis: each writes its snapshot there, and the API reads and merges them.

`metrics:live` has a snapshot for each incarnation of an instance: a process from its start to its end. What one that
has ended had counted still counts, so that no counter falls when a process ends. A few such snapshots are kept; of an
instance that starts again and again, the older ones are added to one sum, in `metrics:retired`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from core.errors import Unavailable
from core.ids import new_id
from core.metric_snapshots import Family, Snapshot, families_of, growing, labelled, merged
from core.metrics import REGISTRY
from tasks.jobs import scripts
from tasks.jobs.keys import METRICS_KEY, RETIRED_METRICS_KEY
from tasks.jobs.queues import Role
from tasks.jobs.redis_client import redis_answers

log = logging.getLogger(__name__)

#: How often a process writes its snapshot (with every second announcement), and after how long without one its gauges
#: are left out.
PUBLISH_SECONDS = 4.0
FRESH_SECONDS = 15.0
#: Snapshots of an instance that are kept, besides those of processes that live. The sum of the older ones is kept too.
#: A laptop that was asleep finds all of its processes silent: they are among the newest, and not added to that sum.
KEPT_INCARNATIONS = 4
FOLD_AFTER_SECONDS = 60.0
#: After how long without any snapshot an instance is forgotten.
FORGET_INSTANCE_SECONDS = 7 * 86_400


class Source(NamedTuple):
    """An instance: the processes of a role that have the same name, one after the other or at the same time."""

    role: str
    instance: str


@dataclass(frozen=True)
class Published:
    """A snapshot of one incarnation, as it is in Redis. `at` is Unix seconds by Redis's clock."""

    source: Source
    field: str
    raw: bytes
    at: float

    def snapshot(self) -> Snapshot:
        """Return the snapshot."""
        return _decoded(self.raw)


@dataclass(frozen=True)
class _Stored:
    """Everything that is in Redis, and Redis's time."""

    live: dict[Source, list[Published]]
    retired: dict[Source, Published]
    now: float


class MetricStore:
    """Reads and writes the snapshots. Thread-safe. Methods raise `Unavailable` if Redis does not answer."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._publish = redis.register_script(scripts.PUBLISH_METRICS)
        self._fold = redis.register_script(scripts.FOLD_METRICS)

    def publish(self, source: Source, incarnation: str, snapshot: Snapshot) -> None:
        """Write the snapshot of one incarnation in place of its last one."""
        with redis_answers():
            self._publish(keys=[METRICS_KEY], args=["|".join((*source, incarnation)), msgspec.json.encode(snapshot)])

    def read(self) -> list[Family]:
        """Return the metrics of all processes, with the labels `role` and `instance`.

        Counters and histograms are those of all incarnations, gauges those of incarnations that live.
        """
        stored = self._stored()
        return merged(
            labelled(families, source._asdict())
            for source in stored.live.keys() | stored.retired.keys()
            for families in _of_instance(stored, source)
        )

    def fold(self) -> int:
        """Add up the snapshots of incarnations that ended long ago, and forget instances that are gone.

        Return the number of snapshots that were removed.
        """
        stored = self._stored()
        removed = 0
        for source in stored.live.keys() | stored.retired.keys():
            found = sorted(stored.live.get(source, ()), key=lambda one: one.at, reverse=True)
            retired = stored.retired.get(source)
            if stored.now - max(one.at for one in [*found, *([retired] if retired else [])]) > FORGET_INSTANCE_SECONDS:
                removed += self._forget(source, found)
                continue
            for one in found[KEPT_INCARNATIONS:]:
                if stored.now - one.at > FOLD_AFTER_SECONDS and self._retire(source, one):
                    removed += 1
        return removed

    def _retire(self, source: Source, one: Published) -> bool:
        """Add a snapshot to the sum of its instance. Return False if another process did so, or it has changed."""
        name = "|".join(source)
        with redis_answers():
            before = self._redis.hget(RETIRED_METRICS_KEY, name) or b""
            sums = [_decoded(before).families] if before else []
            after = Snapshot(merged([*sums, growing(one.snapshot().families)]))
            args = [one.field, one.raw, name, before, msgspec.json.encode(after)]
            return bool(self._fold(keys=[METRICS_KEY, RETIRED_METRICS_KEY], args=args))

    def _forget(self, source: Source, found: list[Published]) -> int:
        with redis_answers():
            if found:
                self._redis.hdel(METRICS_KEY, *(one.field for one in found))
            self._redis.hdel(RETIRED_METRICS_KEY, "|".join(source))
        return len(found)

    def _stored(self) -> _Stored:
        with redis_answers():
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.hgetall(METRICS_KEY)
            pipeline.hgetall(RETIRED_METRICS_KEY)
            pipeline.time()
            live, retired, (seconds, microseconds) = pipeline.execute()
        by_source: dict[Source, list[Published]] = defaultdict(list)
        for one in map(_published, live, live.values()):
            by_source[one.source].append(one)
        sums = {one.source: one for one in map(_published, retired, retired.values())}
        return _Stored(by_source, sums, seconds + microseconds / 1e6)


def _published(field: bytes, raw: bytes) -> Published:
    role, instance, *_ = field.decode().split("|")
    return Published(Source(role, instance), field.decode(), raw, float(raw.partition(b" ")[0]))


def _decoded(raw: bytes) -> Snapshot:
    return msgspec.json.decode(raw.partition(b" ")[2], type=Snapshot)


def _of_instance(stored: _Stored, source: Source) -> Iterator[list[Family]]:
    """Yield what counts of an instance: all of its snapshots, without the gauges of those that are not fresh."""
    if source in stored.retired:
        yield stored.retired[source].snapshot().families
    for one in stored.live.get(source, ()):
        snapshot = one.snapshot()
        is_fresh = not snapshot.is_ending and stored.now - one.at <= FRESH_SECONDS
        yield snapshot.families if is_fresh else growing(snapshot.families)


class MetricPublisher:
    """Writes the snapshots of this process. Thread-safe."""

    def __init__(self, store: MetricStore, role: Role, name: str) -> None:
        """
        Args:
            name: the name under which the process is announced. Without its process id, it is that of the instance.
        """
        self._store = store
        self._source = Source(role.value, name.removesuffix(f":{os.getpid()}"))
        self._incarnation = new_id(str(os.getpid()))
        self._due = 0.0
        self._is_ending = False
        #: Held from the snapshot until it is written, so that no older one is written after it.
        self._lock = threading.Lock()

    def publish(self, *, is_ending: bool = False) -> None:
        """Write a snapshot now. Once the process is ending, what its gauges say no longer counts.

        Raises:
            Unavailable: Redis does not answer.
        """
        with self._lock:
            self._is_ending = self._is_ending or is_ending
            self._store.publish(self._source, self._incarnation, Snapshot(families_of(REGISTRY), self._is_ending))

    def close(self) -> None:
        """Write the last snapshot, with what was counted since the process stopped announcing itself."""
        try:
            self.publish(is_ending=True)
        except Unavailable as error:
            log.warning("the last metrics of this process are lost: %s", error.message)

    def publish_if_due(self) -> None:
        """Write a snapshot if the last one is PUBLISH_SECONDS old. Raise `Unavailable` if Redis does not answer."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + PUBLISH_SECONDS
            self.publish()
