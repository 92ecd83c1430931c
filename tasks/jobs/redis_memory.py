"""The limit on new work while Redis has little memory left, so that running work can end."""

from __future__ import annotations

import time
from typing import Any

from core.errors import Unavailable

#: The share of its memory from which on Redis takes no new jobs.
FULL_SHARE = 0.9
#: How long a measurement of the memory is used.
MEASURED_SECONDS = 0.5
RETRY_AFTER_SECONDS = 30.0


class RedisMemory:
    """Measures the memory of a Redis server that has a limit (`maxmemory`). Thread-safe."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._used_bytes = self._limit_bytes = 0
        self._measured_at = -MEASURED_SECONDS

    def require_room(self) -> None:
        """Raise `Unavailable` if Redis uses FULL_SHARE or more of its memory.

        Raises:
            redis.RedisError: if Redis does not answer.
        """
        now = time.monotonic()
        if now - self._measured_at >= MEASURED_SECONDS:
            found = self._redis.info("memory")
            self._used_bytes, self._limit_bytes = found["used_memory"], found.get("maxmemory", 0)
            self._measured_at = now
        if self._limit_bytes and self._used_bytes >= FULL_SHARE * self._limit_bytes:
            raise Unavailable(
                f"The queue (Redis) uses {self._used_bytes} of {self._limit_bytes} bytes (REDIS_MAX_MEMORY_BYTES). "
                "Running work goes on; try again when it has ended.",
                code="redis_full",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
