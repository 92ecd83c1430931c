"""When is a process ready? Each check asks the process itself, not the supervisor."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import httpx
import redis

from core.errors import Unavailable
from core.settings import LOOPBACK_HOSTS, Settings
from tasks.jobs.names import Role
from tasks.jobs.producer import Producer

#: Answers whether a process that was started at this Unix time is ready.
ReadyCheck = Callable[[float], bool]


def redis_ready(settings: Settings) -> ReadyCheck:
    """Redis answers PING (while it still loads its append-only file, it does not)."""
    client = redis.Redis.from_url(settings.redis_client_url, socket_timeout=1, socket_connect_timeout=1)

    def check(started_at: float) -> bool:
        del started_at
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    return check


def http_ready(url: str, *, any_answer: bool = False) -> ReadyCheck:
    """`GET url` answers 200; with `any_answer`, anything at all (Flower answers 401 to who does not log in)."""
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
    """A worker of the role has announced itself since the process was started."""

    def check(started_at: float) -> bool:
        try:
            workers = producer.workers(role)
        except Unavailable:
            return False
        # Redis keeps what a worker of an earlier run said: only newer words count.
        return any(cast(float, info["at"]) > started_at for info in workers.values())

    return check


def reachable_host(host: str) -> str:
    """A host to reach a server of this machine by, in a URL, given the address it listens on."""
    if host in {"0.0.0.0", ""}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    if host in {"::", "::1"}:
        return "[::1]"
    return f"[{host}]" if ":" in host and host not in LOOPBACK_HOSTS else host


def api_url(settings: Settings) -> str:
    """Where the API is reached from this machine."""
    return f"http://{reachable_host(settings.host)}:{settings.port}"


def flower_url(settings: Settings) -> str:
    """Where Flower is reached from this machine."""
    return f"http://{reachable_host(settings.flower_host)}:{settings.flower_port}"
