"""Sessions of browsers, in Redis for all API processes: each is a random token that stands for an API key.

Redis holds the SHA-256 of a token, and that of the key. Neither can be found from it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError

from core.errors import Unavailable
from core.settings import Settings
from tasks.jobs.keys import key_sessions_key, session_key
from tasks.jobs.redis_client import RETRY_AFTER_SECONDS, connect_async

#: How long a session lasts that is not used.
SESSION_SECONDS = 7 * 86400
#: Sessions of a key. With a further one, the oldest ends.
MAX_SESSIONS_OF_KEY = 100

# KEYS: session, sessions of the key. ARGV: SHA-256 of the key, seconds, name of the session, prefix of the keys of
# sessions, sessions of a key at most.
_CREATE = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('ZADD', KEYS[2], redis.call('TIME')[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[2])
local excess = redis.call('ZCARD', KEYS[2]) - ARGV[5]
if excess > 0 then
  local oldest = redis.call('ZPOPMIN', KEYS[2], excess)
  for i = 1, #oldest, 2 do redis.call('DEL', ARGV[4] .. oldest[i]) end
end
"""

# KEYS: session. ARGV: seconds, prefix of the keys of the sets of sessions. Returns the SHA-256 of the key, or nil.
_FIND = """
local found = redis.call('GETEX', KEYS[1], 'EX', ARGV[1])
if found then redis.call('EXPIRE', ARGV[2] .. found, ARGV[1]) end
return found
"""


class Sessions:
    """Creates, finds and ends sessions. One per process.

    Every method raises `core.errors.Unavailable` if Redis does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._redis = connect_async(settings)
        self._create = self._redis.register_script(_CREATE)
        self._find = self._redis.register_script(_FIND)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def create(self, key_digest: bytes) -> str:
        """Begin a session for the key with this SHA-256, and return its token, which is stored nowhere."""
        token, digest = secrets.token_urlsafe(32), key_digest.hex()
        name = _name(token)
        keys = [session_key(name), key_sessions_key(digest)]
        args = [digest, SESSION_SECONDS, name, session_key(""), MAX_SESSIONS_OF_KEY]
        await _answered(self._create(keys=keys, args=args))
        return token

    async def find(self, token: str) -> bytes | None:
        """Return the SHA-256 of a session's key, or None if the session has ended. It lasts SESSION_SECONDS more."""
        found = await _answered(
            self._find(keys=[session_key(_name(token))], args=[SESSION_SECONDS, key_sessions_key("")])
        )
        return None if found is None else bytes.fromhex(found.decode())

    async def end(self, token: str) -> None:
        """End a session, if there is one."""
        name = _name(token)
        digest = await _answered(self._redis.getdel(session_key(name)))
        if digest is not None:
            await _answered(self._redis.zrem(key_sessions_key(digest.decode()), name))


def _name(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


async def _answered(reply: Awaitable[Any]) -> Any:
    try:
        return await reply
    except (RedisError, OSError) as error:
        raise Unavailable(
            "The session cannot be checked: Redis does not answer. Try again in a moment.",
            code="queue_unavailable",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        ) from error
