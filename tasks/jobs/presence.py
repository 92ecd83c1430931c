"""The workers that are alive, watched once for all readers of a process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from core.settings import Settings
from tasks.jobs.keys import worker_key
from tasks.jobs.producer import known_slugs, live_workers
from tasks.jobs.queues import Role
from tasks.jobs.reader import with_time_limit

#: The roles that run the jobs of clients.
WATCHED = (Role.INFERENCE, Role.INDEX, Role.MAINTENANCE)
_ASKED = (*WATCHED, Role.SUPERVISOR)
#: An engine that is silent for longer hangs: even a large model on a CPU takes less for a step.
MAX_SILENT_SECONDS = 60.0


def needed_roles(settings: Settings) -> list[Role]:
    """Return the roles without which a deployment with these settings does not do all of its work."""
    needed = set(Role) - {Role.API, Role.SUPERVISOR}
    if not (settings.watch_roots or settings.watch_sites):
        needed.discard(Role.WATCHER)
    return sorted(needed)


class WorkerPresence:
    """The live workers of the watched roles, as of the last `refresh`."""

    def __init__(self, redis: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        #: Each process by role, name, pid and start.
        self._processes: set[tuple[object, ...]] = set()
        #: Since when each role is known to have no live worker.
        self._unserved_since: dict[Role, float] = {}
        #: When each language model was seen last, loaded or to be loaded, by slug.
        self._model_seen: dict[str, float] = {}
        self._began: float | None = None
        #: When the first of the last refreshes began that Redis has not answered; None if it has answered the last one.
        self._unanswered_since: float | None = None
        self.all_roles_are_served = False

    async def refresh(self) -> bool:
        """Read the announcements, in one round trip. Return False if a process has gone or was replaced.

        Raises:
            RedisError, OSError: if Redis does not answer. Then it is not known whether there are workers.
        """
        began = self._clock()
        try:
            *announced, clock = await self._announcements()
        except (RedisError, OSError):
            self._unserved_since.clear()
            self._unanswered_since = began if self._unanswered_since is None else self._unanswered_since
            raise
        self._unanswered_since = None
        workers = {role: live_workers(raw, clock) for role, raw in zip(_ASKED, announced, strict=True)}
        processes: set[tuple[object, ...]] = {
            (role, name, info.get("pid"), info.get("started_at"))
            for role in WATCHED
            for name, info in workers[role].items()
        }
        gone = self._processes - processes
        self._processes = processes
        now = self._clock()
        self._began = now if self._began is None else self._began
        models = known_slugs(workers[Role.INFERENCE].values(), workers[Role.SUPERVISOR].values())
        self._model_seen.update(dict.fromkeys(models, now))
        self._unserved_since = {role: self._unserved_since.get(role, now) for role in WATCHED if not workers[role]}
        self.all_roles_are_served = not self._unserved_since
        return not gone

    async def _announcements(self) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for role in _ASKED:
            pipeline.hgetall(worker_key(role))
        pipeline.time()
        replies: list[Any] = await with_time_limit(pipeline.execute())
        return replies

    def unserved_seconds(self, role: Role, model: str = "") -> float:
        """Return for how long a role is known to have no live worker; 0 if it has one, or that is not known.

        For a language model, given by its slug, workers of other models do not count. That it can be loaded does.
        """
        if model and role is Role.INFERENCE and self._began is not None:
            return self._clock() - self._model_seen.get(model, self._began) if not self._is_unanswered() else 0.0
        since = self._unserved_since.get(role)
        return 0.0 if since is None else self._clock() - since

    def _is_unanswered(self) -> bool:
        return self._unanswered_since is not None

    def unanswered_seconds(self) -> float:
        """Return for how long Redis has not answered; 0 if it has answered the last refresh."""
        return 0.0 if self._unanswered_since is None else self._clock() - self._unanswered_since
