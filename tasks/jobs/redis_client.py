"""Redis clients with time limits and retries: a Redis that hangs is an error within seconds, a restart is waited for.

Clients are typed as Any: redis-py types every reply `bytes | str`, but these clients never decode.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_delay, wait_fixed

from core.disk import is_disk_full
from core.errors import StorageFull, Unavailable
from core.settings import Settings

log = logging.getLogger(__name__)

#: Limits on a reply and on opening a connection.
SOCKET_TIMEOUT_SECONDS = 2
CONNECT_TIMEOUT_SECONDS = 1
#: A connection that was idle for this long is checked before it is used.
HEALTH_CHECK_SECONDS = 10
#: The connections of a client. If all are in use, a call waits for one.
MAX_CONNECTIONS = 128
MAX_ASYNC_CONNECTIONS = 16
POOL_TIMEOUT_SECONDS = 5
#: Only refused connections are retried, as a restarting Redis refuses them for a moment. A time-out is not retried.
_CONNECTION_RETRIES = 3
_BACKOFF = ExponentialBackoff(cap=1, base=0.25)
#: After this time the supervisor of a Redis that is down has given up too.
RETRY_SECONDS = 60.0
#: The `Retry-After` of a refusal because Redis does not answer.
RETRY_AFTER_SECONDS = 5.0

#: Calls a function until Redis answers: `retrying(function, *arguments)`. After RETRY_SECONDS it raises the last
#: RedisError. For calls whose loss would lose an event.
retrying = Retrying(
    retry=retry_if_exception_type(RedisError),
    stop=stop_after_delay(RETRY_SECONDS),
    wait=wait_fixed(0.2),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)


def connect(settings: Settings) -> Any:
    """Return a blocking client."""
    retry = Retry(_BACKOFF, _CONNECTION_RETRIES, supported_errors=(RedisConnectionError,))
    pool = redis.BlockingConnectionPool.from_url(
        settings.redis_client_url,
        max_connections=MAX_CONNECTIONS,
        timeout=POOL_TIMEOUT_SECONDS,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        health_check_interval=HEALTH_CHECK_SECONDS,
        retry=retry,
    )
    return redis.Redis.from_pool(pool)


def connect_async(settings: Settings, *, listens: bool = False) -> Any:
    """Return a client for an event loop. With `listens`, it waits for publications without a time limit."""
    retry = AsyncRetry(_BACKOFF, _CONNECTION_RETRIES, supported_errors=(RedisConnectionError,))
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.redis_client_url,
        max_connections=MAX_ASYNC_CONNECTIONS,
        timeout=POOL_TIMEOUT_SECONDS,
        socket_timeout=None if listens else SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        health_check_interval=0 if listens else HEALTH_CHECK_SECONDS,
        retry=retry,
    )
    return redis.asyncio.Redis.from_pool(pool)


@contextmanager
def redis_answers() -> Iterator[None]:
    """Raise `Unavailable` or `StorageFull` for an error of Redis."""
    try:
        yield
    except redis.RedisError as error:
        raise_unavailable(error)


def raise_unavailable(error: BaseException) -> NoReturn:
    """Raise what a client gets for an error of Redis."""
    if is_disk_full(error):
        raise StorageFull("The queue (Redis) cannot store anything: its disk is full.") from error
    raise Unavailable(
        "The queue (Redis) does not answer. Try again in a moment.",
        code="queue_unavailable",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    ) from error
