"""Clients of Redis with time limits: a Redis that hangs is an error within seconds, and a restart is waited for.

Typed as Any: redis-py types every reply `bytes | str`, and these clients never decode.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from core.settings import Settings

#: A Redis that takes longer to reply, or to accept a connection, does not answer.
SOCKET_TIMEOUT_SECONDS = 2
CONNECT_TIMEOUT_SECONDS = 1
#: A connection that was idle for this long is checked before it is used.
HEALTH_CHECK_SECONDS = 10
#: A Redis that is being restarted refuses connections for a moment; one that hangs is not waited for again and again.
_CONNECTION_RETRIES = 3
_BACKOFF = ExponentialBackoff(cap=1, base=0.25)


def connect(settings: Settings) -> Any:
    """Return a blocking client."""
    retry = Retry(_BACKOFF, _CONNECTION_RETRIES, supported_errors=(RedisConnectionError,))
    return redis.Redis.from_url(
        settings.redis_client_url,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        health_check_interval=HEALTH_CHECK_SECONDS,
        retry=retry,
    )


def connect_async(settings: Settings, *, listens: bool = False) -> Any:
    """Return a client for an event loop. One that `listens` waits for publications without a time limit."""
    retry = AsyncRetry(_BACKOFF, _CONNECTION_RETRIES, supported_errors=(RedisConnectionError,))
    return redis.asyncio.Redis.from_url(
        settings.redis_client_url,
        socket_timeout=None if listens else SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        health_check_interval=0 if listens else HEALTH_CHECK_SECONDS,
        retry=retry,
    )
