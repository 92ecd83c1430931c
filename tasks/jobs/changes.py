"""Hints of what has changed: every process appends them to one stream in Redis, and API processes follow it.

A hint names the topic and ids, never the content: who reads it asks the catalog. A stream, and not pub/sub, because a
reader whose connection broke goes on where it was, and because the last hints are what a client has missed meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from core.catalog import ANY
from core.settings import Settings
from tasks.jobs.keys import CHANGES_KEY, throughput_key
from tasks.jobs.reader import REPLY_SECONDS, unavailable
from tasks.jobs.redis_client import connect_async

log = logging.getLogger(__name__)

#: Hints wait this long for others, and a process sends no more than one batch in PUBLISH_SECONDS.
GATHER_SECONDS = 0.05
PUBLISH_SECONDS = 0.25
#: Ids of a topic in one batch. If more have changed, the batch says `ANY` in their place.
MAX_IDS = 200
#: Batches that the stream holds: at 200 ids each, some 3 MB.
MAX_BATCHES = 512
RETRY_SECONDS = 1.0
#: How long a reader waits for a batch before it asks again, which shows whether the connection still stands.
BLOCK_SECONDS = 15.0
#: How long the counts of a minute are kept.
COUNTS_TTL_SECONDS = 7500

# KEYS: stream. ARGV: batches at most, TTL of counts, prefix of the keys of counts, number of fields, field, value, …
# of the batch, then name, number, … of the counts of this minute, by Redis's clock.
_PUBLISH = """
local fields = tonumber(ARGV[4])
if fields > 0 then redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 5, 4 + fields)) end
if #ARGV > 4 + fields then
  local minute = ARGV[3] .. math.floor(redis.call('TIME')[1] / 60)
  for i = 5 + fields, #ARGV, 2 do redis.call('HINCRBY', minute, ARGV[i], ARGV[i + 1]) end
  redis.call('EXPIRE', minute, ARGV[2])
end
"""


class ChangePublisher:
    """Gathers the hints and counts of a process, and sends them in batches from a thread of its own.

    Its methods return at once and raise nothing. If Redis does not answer, hints wait, and become `ANY` in the end.
    """

    def __init__(self, redis: Any) -> None:
        self._publish = redis.register_script(_PUBLISH)
        self._lock = threading.Condition()
        self._changed: defaultdict[str, set[str]] = defaultdict(set)
        self._counts: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._is_away = False

    def __call__(self, changes: Mapping[str, Iterable[str]]) -> None:
        """Send the ids of what has changed, by topic."""
        with self._lock:
            for topic, ids in changes.items():
                known = self._changed[topic]
                known.update(ids)
                if len(known) > MAX_IDS:
                    self._changed[topic] = {ANY}
            self._wake()

    def count(self, **numbers: int) -> None:
        """Add to the counts of this minute."""
        counted = {name: number for name, number in numbers.items() if number}
        if counted:
            with self._lock:
                self._counts.update(counted)
                self._wake()

    def close(self) -> None:
        """Send what waits, and stop the thread."""
        self._stopping.set()
        with self._lock:
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
            self._thread.start()
        self._lock.notify()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._changed or self._counts or self._stopping.is_set())
            self._stopping.wait(GATHER_SECONDS)
            if not self._send() and self._stopping.is_set():
                return
            self._stopping.wait(PUBLISH_SECONDS)

    def _send(self) -> bool:
        """Send what waits. Return False if nothing is left to do."""
        with self._lock:
            changed, self._changed = self._changed, defaultdict(set)
            counts, self._counts = self._counts, Counter()
        if not changed and not counts:
            return False
        fields = [part for topic, ids in changed.items() for part in (topic, " ".join(ids))]
        numbers = [part for item in counts.items() for part in item]
        try:
            args = [MAX_BATCHES, COUNTS_TTL_SECONDS, throughput_key(""), len(fields), *fields, *numbers]
            self._publish(keys=[CHANGES_KEY], args=args)
        except (RedisError, OSError) as error:
            if not self._is_away:
                log.warning("changes could not be published, and wait: %s", error)
            self._is_away = True
            self(changed)
            self.count(**counts)
            self._stopping.wait(RETRY_SECONDS)
            return not self._stopping.is_set()
        self._is_away = False
        return True


@dataclass
class Hints:
    """The ids of what has changed, by topic, in the order in which they came. `ANY` among them: more than are named."""

    changed: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, topic: str, ids: Iterable[str]) -> None:
        """Add the ids of a topic; none if its hints have no ids."""
        self.changed.setdefault(topic, {}).update(dict.fromkeys(ids))

    def take(self, topic: str, most: int) -> list[str]:
        """Remove and return the first ids of a topic."""
        ids = self.changed.get(topic, {})
        taken = list(ids)[:most]
        for one in taken:
            del ids[one]
        if not ids:
            self.changed.pop(topic, None)
        return taken

    def count(self, *topics: str) -> int:
        """Return how many ids these topics have."""
        return sum(len(self.changed.get(topic, ())) for topic in topics)

    def is_any(self, topic: str) -> bool:
        """Return whether more has changed of a topic than its ids say."""
        return ANY in self.changed.get(topic, ())

    def __bool__(self) -> bool:
        return bool(self.changed)


class ChangeStream:
    """Reads hints, for the API's event loop: one per process.

    Every method raises `core.errors.Unavailable` if Redis does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._redis = connect_async(settings, listens=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def position(self) -> str:
        """Return the position after the last batch."""
        last = await self._ask(self._redis.xrevrange(CHANGES_KEY, count=1))
        return str(last[0][0].decode()) if last else "0-0"

    async def read(self, after: str) -> tuple[Hints, str]:
        """Return what was published after a position, and the position after that. Wait for it for some seconds."""
        waiting = self._redis.xread({CHANGES_KEY: after}, count=MAX_BATCHES, block=int(BLOCK_SECONDS * 1000))
        found = await self._ask(waiting, BLOCK_SECONDS)
        # Redis's second protocol answers with a list of streams, its third with a mapping.
        streams = found.values() if isinstance(found, dict) else [batches for _, batches in found or ()]
        batches = [batch for stream in streams for batch in _flat(stream)]
        return _hints_of(batches), batches[-1][0].decode() if batches else after

    async def since(self, after: str) -> Hints | None:
        """Return what was published after a position, or None if the stream does not go back so far."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.xrange(CHANGES_KEY, count=1)
        pipeline.xrange(CHANGES_KEY, min=after)
        oldest, batches = await self._ask(pipeline.execute())
        if not oldest:
            return Hints() if after == "0-0" else None
        # The batch at this position is still there, so none after it has been removed.
        if batches and batches[0][0].decode() == after:
            return _hints_of(batches[1:])
        return None

    async def _ask(self, reply: Any, seconds: float = 0.0) -> Any:
        try:
            async with asyncio.timeout(REPLY_SECONDS + seconds):
                return await reply
        except (RedisError, OSError) as error:
            raise unavailable() from error


def _flat(stream: Any) -> Any:
    """Return the batches of a stream, which the third protocol nests once more."""
    return stream[0] if stream and isinstance(stream[0], list) else stream


def _hints_of(batches: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> Hints:
    hints = Hints()
    for _, fields in batches:
        for topic, ids in fields.items():
            hints.add(topic.decode(), ids.decode().split())
    return hints
