"""The workers that are alive, watched once for all readers of a process."""

from __future__ import annotations

import time
from typing import Any

from tasks.jobs.keys import worker_key
from tasks.jobs.producer import live_workers
from tasks.jobs.queues import Role
from tasks.jobs.reader import with_time_limit

#: The roles that run the jobs of clients.
WATCHED = (Role.INFERENCE, Role.INDEX, Role.MAINTENANCE)


class WorkerPresence:
    """The live workers of the watched roles, as of the last `refresh`."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        #: Each process by role, name, pid and start.
        self._processes: set[tuple[object, ...]] = set()
        #: By the clock of `time.monotonic`.
        self._served_at = dict.fromkeys(WATCHED, time.monotonic())
        self.all_roles_are_served = False

    async def refresh(self) -> bool:
        """Read the announcements, in one round trip. Return False if a process has gone or was replaced.

        Raises:
            RedisError, OSError: if Redis does not answer.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for role in WATCHED:
            pipeline.hgetall(worker_key(role))
        pipeline.time()
        *announced, clock = await with_time_limit(pipeline.execute())
        workers = {role: live_workers(raw, clock) for role, raw in zip(WATCHED, announced, strict=True)}
        processes: set[tuple[object, ...]] = {
            (role, name, info.get("pid"), info.get("started_at"))
            for role, found in workers.items()
            for name, info in found.items()
        }
        gone = self._processes - processes
        self._processes = processes
        self._served_at.update({role: time.monotonic() for role in WATCHED if workers[role]})
        self.all_roles_are_served = all(workers.values())
        return not gone

    def unserved_seconds(self, role: Role) -> float:
        """Return for how long there has been no live worker of a role; 0 if that is not known."""
        return time.monotonic() - self._served_at[role] if role in self._served_at else 0.0
