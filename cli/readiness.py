"""Readiness checks. Each asks the process itself, not the supervisor."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import httpx
import redis

from core.errors import Unavailable
from core.settings import LOOPBACK_HOSTS, Settings
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role

#: Returns whether a process that was started at this Unix time is ready.
ReadyCheck = Callable[[float], bool]


def redis_ready(settings: Settings) -> ReadyCheck:
    """Return a check that Redis answers PING, which it does not while it loads its append-only file."""
    client = redis.Redis.from_url(settings.redis_client_url, socket_timeout=1, socket_connect_timeout=1)

    def check(started_at: float) -> bool:
        del started_at
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    return check


def http_ready(url: str, *, any_answer: bool = False) -> ReadyCheck:
    """Return a check that `GET url` answers 200, or anything with `any_answer` (Flower answers 401 without a login)."""
    client = httpx.Client(trust_env=False, timeout=2)

    def check(started_at: float) -> bool:
        del started_at
        try:
            response = client.get(url)
        except httpx.HTTPError:
            return False
        return any_answer or response.status_code == httpx.codes.OK

    return check


def worker_ready(producer: Producer, role: Role) -> ReadyCheck:
    """Return a check that a worker of the role has announced itself since the process was started."""

    def check(started_at: float) -> bool:
        try:
            workers = producer.workers(role)
        except Unavailable:
            return False
        # Redis keeps the announcements of an earlier run's workers, so only newer ones count.
        return any(cast(float, info["sent_at"]) > started_at for info in workers.values())

    return check


def reachable_host(host: str) -> str:
    """Return the host for a URL of a server on this machine, given the address that it listens on."""
    if host in {"0.0.0.0", ""}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    if host in {"::", "::1"}:
        return "[::1]"
    return f"[{host}]" if ":" in host and host not in LOOPBACK_HOSTS else host


def api_url(settings: Settings) -> str:
    """Return the URL of the API on this machine."""
    return f"http://{reachable_host(settings.host)}:{settings.port}"


def flower_url(settings: Settings) -> str:
    """Return the URL of Flower on this machine."""
    return f"http://{reachable_host(settings.flower_host)}:{settings.flower_port}"
