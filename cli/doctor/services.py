"""Checks of the services: Redis, the catalog's database, the vector store, and whether their clocks agree."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import redis

from cli.doctor.findings import Finding, note, ok, problem
from cli.preflight import check_access
from cli.redis_server import MINIMUM_VERSION, find_redis_server
from cli.runtime import RuntimeDir, lock_owner
from cli.status import existing_catalog
from core.errors import ConfigurationError
from core.redaction import redacted
from core.settings import Settings

TIMEOUT_SECONDS = 5.0
#: Leases and deadlines take their times from the store that holds them; people read those of this machine.
MAX_SKEW_SECONDS = 5.0


def redis_server(settings: Settings) -> Iterator[Finding]:
    """Check that Redis answers, keeps what it is given, and refuses rather than forgets when it is full."""
    if settings.redis_url is None and lock_owner(RuntimeDir(settings.runtime_dir).up_lock) is None:
        try:
            yield ok("Redis", f"will be started: {find_redis_server()}")
        except ConfigurationError as error:
            yield problem("Redis", error.message, "Install it, or set REDIS_URL.")
        return
    options: dict[str, Any] = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
    try:
        with redis.Redis.from_url(settings.redis_client_url, **options) as client:
            yield from _redis_findings(client)
    # A URL with unknown options raises ValueError or TypeError.
    except (redis.RedisError, ValueError, TypeError) as error:
        yield problem("Redis", f"Redis does not answer: {redacted(error)}", "Start it, or correct REDIS_URL.")


def _redis_findings(client: redis.Redis) -> Iterator[Finding]:
    info: Any = client.info()
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    if version < MINIMUM_VERSION:
        text = f"Redis is of version {info['redis_version']}; 6.2 or later is needed."
        yield problem("Redis", text, "Upgrade it.")
        return
    problems = list(_redis_settings(info))
    yield from problems
    seconds, microseconds = client.time()
    yield from _skew("Redis", float(seconds) + float(microseconds) / 1e6)
    if not problems:
        used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
        room = f"{used / 1e6:,.0f} of {limit / 1e6:,.0f} MB used" if limit else f"{used / 1e6:,.0f} MB used"
        yield ok("Redis", f"version {info['redis_version']}, {room}")


def _redis_settings(info: dict[str, Any]) -> Iterator[Finding]:
    if not int(info.get("aof_enabled", 0)):
        text = "Redis keeps nothing on disk as it is written (appendonly no): its restart loses waiting jobs."
        yield problem("Redis", text, "Set `appendonly yes` in its configuration.")
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield problem("Redis", "Redis could not write its append-only file.", "See its log; make room on its disk.")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if int(info.get("maxmemory", 0)) and policy != "noeviction":
        text = f"Redis deletes keys when it is full (maxmemory-policy {policy}): jobs would be lost."
        yield problem("Redis", text, "Set `maxmemory-policy noeviction` in its configuration.")


def catalog(settings: Settings) -> Iterator[Finding]:
    """Check that the catalog's database answers and has the tables of this release."""
    name = "SQLite" if settings.database_url is None else "database"
    with existing_catalog(settings) as opened:
        if opened is None:
            yield ok("Catalog", "is created at the first start")
        elif opened.needs_migration():
            yield note("Catalog", f"The {name} has tables of an older release; the next start upgrades them.")
        else:
            counts = {str(state): count for state, count in opened.counts_by_state().items() if count}
            shown = ", ".join(f"{count} {state}" for state, count in counts.items()) or "no documents"
            yield ok("Catalog", f"{name}: {shown}")


def vector_store(settings: Settings) -> Iterator[Finding]:
    """Check that the Qdrant server answers, if there is one."""
    url = settings.qdrant_server_url
    if url is None:
        yield ok("Vector store", "embedded in the index worker")
        return
    key = settings.qdrant_api_key
    headers = {} if key is None else {"api-key": key.get_secret_value()}
    try:
        answer = httpx.get(f"{url.rstrip('/')}/collections", headers=headers, timeout=TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f"The Qdrant server does not answer: {redacted(error)}"
        yield problem("Vector store", text, "Start it, or correct QDRANT_URL.")
        return
    if answer.status_code in (401, 403):
        yield problem("Vector store", "The Qdrant server refuses the key.", "Correct QDRANT_API_KEY.")
    elif answer.is_error:
        yield problem("Vector store", f"The Qdrant server answers {answer.status_code}.", "See its log.")
    else:
        yield ok("Vector store", f"the Qdrant server {redacted(url)} answers")


def access(settings: Settings) -> Iterator[Finding]:
    """Check that other machines are not served without keys."""
    check_access(settings)
    yield ok("Access", f"HOST is {settings.host}")


def _skew(name: str, clock: float) -> Iterator[Finding]:
    seconds = clock - time.time()
    if abs(seconds) > MAX_SKEW_SECONDS:
        direction = "ahead of" if seconds > 0 else "behind"
        text = f"The clock of {name} is {abs(seconds):.0f} s {direction} this machine's."
        yield problem("Clocks", text, "Synchronise both with a time server (NTP).")
