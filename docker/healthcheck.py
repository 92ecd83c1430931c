"""Checks the process of this container: exits with status 0 or 1, and prints the reason.

python docker/healthcheck.py api|flower|ingest|index|inference|maintenance|watcher
"""

from __future__ import annotations

import json
import socket
import sys
import urllib.error
import urllib.request

import redis

from core.settings import load_settings
from tasks.jobs.keys import worker_key
from tasks.jobs.queues import Role

URLS = {"api": "http://127.0.0.1:8000/health", "flower": "http://127.0.0.1:5555/"}
TIMEOUT_SECONDS = 5
#: Workers announce themselves every two seconds.
SILENCE_SECONDS = 15


def problem_of(service: str) -> str | None:
    """Return the problem of a service, or None."""
    if service in URLS:
        return _http_problem(URLS[service])
    if service not in set(Role):
        return f"there is no service {service!r}"
    try:
        announced, now = _announced(Role(service))
    except redis.RedisError as error:
        return f"Redis does not answer: {error}"
    return worker_problem(Role(service), announced, socket.gethostname(), now)


def worker_problem(role: Role, announced: dict[str, float], host: str, now: float) -> str | None:
    """Return the problem of a worker, or None, given the last announcement of each of its role (Unix seconds)."""
    live = [name for name, at in announced.items() if now - at < SILENCE_SECONDS]
    # The names of Celery's workers end with the host's name. There is only one watcher.
    if any(name.endswith(f"@{host}") for name in live) or (role is Role.WATCHER and live):
        return None
    return f"no {role.value} worker of {host} has announced itself in the last {SILENCE_SECONDS} seconds"


def _http_problem(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS):  # noqa: S310 - a constant of this file
            return None
    except urllib.error.HTTPError as error:
        # Flower answers 401 without a login, which shows that it works.
        return None if error.code == 401 else f"{url} answered {error.code}"
    except OSError as error:
        return f"{url}: {error}"


def _announced(role: Role) -> tuple[dict[str, float], float]:
    """Return when each worker of a role last announced itself, and the present time, by Redis's clock."""
    # Without `tasks.jobs.producer`, since every container does this twice a minute and Celery is slow to load.
    url = load_settings().redis_client_url
    client = redis.Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)
    with client:
        announcements: dict[bytes, bytes] = client.hgetall(worker_key(role))  # type: ignore[assignment]
        seconds, microseconds = client.time()  # type: ignore[misc]
    announced = {name.decode(): float(json.loads(info)["at"]) for name, info in announcements.items()}
    return announced, seconds + microseconds / 1e6


def main() -> None:
    """Check the service that is named on the command line."""
    problem = problem_of(sys.argv[1] if len(sys.argv) > 1 else "api")
    print(problem or "healthy")
    sys.exit(1 if problem else 0)


if __name__ == "__main__":
    main()
