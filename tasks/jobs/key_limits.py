"""The limits of an API key: requests per minute and concurrent requests, counted in Redis for all API processes.

A running request holds a lease. It is released when the request ends, however it ends; if the API process dies, the
lease expires.

Not built on the library `limits`: its scripts take `time.time()` of the calling process in place of Redis's clock, and
it has no limit on concurrent requests, so one atomic script could not check both.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import Literal

from redis.exceptions import RedisError

from core.errors import Unavailable
from core.ids import new_id
from core.settings import Settings
from tasks.jobs.keys import duration_key, requests_key, running_key
from tasks.jobs.redis_client import connect_async

log = logging.getLogger(__name__)

#: How long the leases of an API process that died still count.
REQUEST_LEASE_SECONDS = 15.0
RENEW_SECONDS = 5.0

# KEYS: requests, running, duration. ARGV: requests per minute (0: no limit), concurrent requests (0: no limit), lease,
# lease duration in ms.
# Time is Redis's, as API processes on several machines share these keys.
# Returns {0 admitted | 1 rate exceeded | 2 concurrency exceeded, requests left, ms until all are left again, ms to
# wait}.
_ADMIT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local rate, concurrency = tonumber(ARGV[1]), tonumber(ARGV[2])
local used, reset = 0, 0
if rate > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
  used = redis.call('ZCARD', KEYS[1])
  local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  reset = newest[2] and newest[2] + 60000 - now or 0
  if used >= rate then
    local leaving = redis.call('ZRANGE', KEYS[1], used - rate, used - rate, 'WITHSCORES')
    return {1, 0, reset, leaving[2] + 60000 - now}
  end
end
if concurrency > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  local running = redis.call('ZCARD', KEYS[2])
  if running >= concurrency then
    return {2, rate - used, reset, math.ceil((tonumber(redis.call('GET', KEYS[3])) or 1000) / running)}
  end
  redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
if rate > 0 then
  redis.call('ZADD', KEYS[1], now, ARGV[3])
  redis.call('PEXPIRE', KEYS[1], 60000)
  used, reset = used + 1, 60000
end
return {0, rate - used, reset, 0}
"""

# KEYS: running. ARGV: lease duration in ms, lease...
_RENEW = """
local clock = redis.call('TIME')
local expires = clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[1]
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], expires, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""

# KEYS: running, duration. ARGV: lease, ms that it was held. From the moving average of durations, _ADMIT estimates how
# long a refused client should wait.
_RELEASE = """
redis.call('ZREM', KEYS[1], ARGV[1])
local duration = tonumber(redis.call('GET', KEYS[2]) or ARGV[2])
redis.call('SET', KEYS[2], math.floor(duration * 0.8 + ARGV[2] * 0.2), 'EX', 3600)
"""


def _lease_ms() -> int:
    return math.ceil(REQUEST_LEASE_SECONDS * 1000)


@dataclass(frozen=True)
class Quota:
    """The limits of a key. None: no limit."""

    requests_per_minute: int | None = None
    concurrent_requests: int | None = None

    @property
    def is_limited(self) -> bool:
        return self.requests_per_minute is not None or self.concurrent_requests is not None


@dataclass(frozen=True)
class Allowance:
    """The requests per minute of a key, how many of them are left, and when all of them are left again."""

    limit: int
    remaining: int
    reset_seconds: float


@dataclass(frozen=True)
class Verdict:
    """The decision on a request. Pass that of an admitted request to `KeyLimits.release` when the request ends."""

    key: str
    quota: Quota
    refused: Literal["rate", "concurrency"] | None
    allowance: Allowance | None
    retry_after_seconds: float
    lease: str
    since: float


class KeyLimits:
    """Admits requests by key. One per API process; call `start` and `close` on the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._redis = connect_async(settings)
        self._admit = self._redis.register_script(_ADMIT)
        self._renew = self._redis.register_script(_RENEW)
        self._release = self._redis.register_script(_RELEASE)
        self._held: dict[str, str] = {}
        self._renewer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start renewing the leases of running requests."""
        self._renewer = asyncio.create_task(self._renew_leases(), name="key-limits")

    async def close(self) -> None:
        """Stop renewing leases, and close the connection. Leases that are still held expire."""
        if self._renewer:
            self._renewer.cancel()
            await asyncio.gather(self._renewer, return_exceptions=True)
        await self._redis.aclose()

    async def admit(self, key: str, quota: Quota) -> Verdict:
        """Decide whether a request of a key may run, and count it if so.

        Args:
            key: the key's short id, never the key itself.
            quota: the limits of the key.

        Raises:
            Unavailable: if Redis does not answer.
        """
        lease, since = new_id("req"), time.monotonic()
        rate, concurrency = quota.requests_per_minute or 0, quota.concurrent_requests or 0
        try:
            code, left, reset_ms, wait_ms = await self._admit(
                keys=[requests_key(key), running_key(key), duration_key(key)],
                args=[rate, concurrency, lease, _lease_ms()],
            )
        except (RedisError, OSError) as error:
            raise Unavailable(
                "The limits of this key cannot be checked: Redis does not answer. Try again in a moment.",
                code="queue_unavailable",
            ) from error
        if concurrency and not code:
            self._held[lease] = key
        allowance = Allowance(rate, int(left), int(reset_ms) / 1000) if rate else None
        refused: dict[int, Literal["rate", "concurrency"]] = {1: "rate", 2: "concurrency"}
        return Verdict(key, quota, refused.get(int(code)), allowance, int(wait_ms) / 1000, lease, since)

    async def release(self, verdict: Verdict) -> None:
        """Release the lease of a request that has ended. If Redis does not answer, the lease expires."""
        if self._held.pop(verdict.lease, None) is None:
            return
        held_ms = math.ceil((time.monotonic() - verdict.since) * 1000)
        keys = [running_key(verdict.key), duration_key(verdict.key)]
        try:
            await self._release(keys=keys, args=[verdict.lease, held_ms])
        except (RedisError, OSError) as error:
            log.warning("a request's lease expires only in %g s: %s", REQUEST_LEASE_SECONDS, error)

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            by_key: dict[str, list[str]] = {}
            for lease, key in self._held.items():
                by_key.setdefault(key, []).append(lease)
            try:
                for key, leases in by_key.items():
                    # A lease that was released during the previous await must not be renewed.
                    held = [lease for lease in leases if lease in self._held]
                    if held:
                        await self._renew(keys=[running_key(key)], args=[_lease_ms(), *held])
            except (RedisError, OSError) as error:
                log.warning("the leases of running requests could not be renewed: %s", error)
