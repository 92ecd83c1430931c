"""API keys, sent as `Authorization: Bearer KEY` (or `X-API-Key: KEY`): those of API_KEYS, and those in the catalog.

A browser may send the cookie of a session in place of its key: see `api.sessions`.

A key never leaves this file: records, rows and logs have its id. For a key in API_KEYS that is the beginning of its
hash.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers

from api.callers import ADMIN_RIGHTS, ANONYMOUS, Caller
from api.sessions import SESSION_PATH, SessionStore, session_token
from core.errors import AuthenticationFailed, LlmApiError
from core.keys import ApiKey, key_digest
from core.settings.values import KEY_HASH_PREFIX

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

#: How long what the catalog says of a key is used, so how long a key works after its revocation.
KEY_CACHE_SECONDS = 5.0
#: Threads that ask the catalog about keys.
MAX_THREADS = 8
#: Routes that need no key: probes, the description of the API, the one that takes a browser's key, and the console's
#: pages, which hold no data.
OPEN_PATHS = frozenset({"/", "/console", "/health", "/ready", "/docs", "/openapi.json", SESSION_PATH})
#: The scripts and styles that `/docs` loads.
ASSETS_PATH = "/docs-assets"


class KeyStore(Protocol):
    """The part of the catalog that knows keys."""

    def find_key(self, digest: bytes) -> ApiKey | None: ...

    def has_keys(self) -> bool: ...

    def tokens_of_day(self, owner: str, key: str) -> int: ...

    def record_key_use(self, key: ApiKey) -> None: ...


def is_open(path: str) -> bool:
    """Return whether a path is served without a key."""
    return path in OPEN_PATHS or path.startswith((f"{ASSETS_PATH}/", "/docs/", "/console/"))


class KeyRing:
    """Finds the bearer of a request's key. If there has never been a key, every request is accepted."""

    def __init__(self, configured: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._configured = [_configured_digest(key) for key in configured]
        #: What the catalog said of keys that it knows, with the time by the clock until which that is used.
        self._callers: dict[bytes, tuple[float, ApiKey, Caller]] = {}
        self._finding: dict[bytes, asyncio.Future[Any]] = {}
        self._recording: set[asyncio.Future[None]] = set()
        self._threads: CapacityLimiter | None = None
        self._has_keys = False
        self._asked_until: float | None = None

    def forget(self) -> None:
        """Ask the catalog again, because a key has been created or revoked."""
        self._callers.clear()
        self._asked_until = None

    async def close(self) -> None:
        """Wait for the writes that no request waits for. The catalog must be open."""
        await asyncio.gather(*self._recording)

    async def is_required(self, catalog: KeyStore) -> bool:
        """Return whether requests need a key."""
        if self._configured or self._has_keys:
            return True
        asked_until = self._asked_until
        if asked_until is None or self._clock() >= asked_until:
            if asked_until is not None:
                # Requests that come meanwhile go by the last answer.
                self._asked_until = self._clock() + KEY_CACHE_SECONDS
            try:
                self._has_keys = await self._in_thread(catalog.has_keys)
            except LlmApiError:
                # While the catalog does not answer, nobody can create a key, so the last answer still holds.
                if asked_until is None:
                    raise
            self._asked_until = self._clock() + KEY_CACHE_SECONDS
        return self._has_keys

    async def identify(
        self, headers: Headers, catalog: KeyStore, method: str = "GET", sessions: SessionStore | None = None
    ) -> Caller:
        """Return who sends a request, by its key or, if it has none, by the session that its cookie names.

        Raises:
            AuthenticationFailed: the key is missing or wrong, has been revoked or has expired; or the session has
                ended.
            PermissionDenied: a page of another server has sent the cookie.
            Unavailable: the catalog does not answer, or Redis, if it is asked for a session.
        """
        if not await self.is_required(catalog):
            return ANONYMOUS
        given = _given_key(headers)
        if given:
            return await self.bearer(key_digest(given), catalog)
        token = session_token(method, headers)
        if not token or sessions is None:
            raise AuthenticationFailed(
                "No API key was given. Send it as 'Authorization: Bearer KEY'.", code="missing_api_key"
            )
        digest = await sessions.find(token)
        if digest is None:
            raise AuthenticationFailed("The session has ended. Sign in again.", code="session_ended")
        return await self.bearer(digest, catalog)

    async def bearer(self, digest: bytes, catalog: KeyStore) -> Caller:
        """Return the bearer of the key with this SHA-256.

        Raises:
            AuthenticationFailed: the key is wrong, has been revoked or has expired.
            Unavailable: the catalog does not answer.
        """
        # Every key is compared, so the time taken does not reveal which one matched.
        if any([hmac.compare_digest(digest, known) for known in self._configured]):
            return Caller(digest.hex()[:12], ADMIN_RIGHTS)
        key, caller = await self._find(digest, catalog)
        if key.revoked_at is not None:
            raise AuthenticationFailed("The API key has been revoked.", code="revoked_api_key")
        if key.expires_at is not None and key.expires_at <= time.time():
            raise AuthenticationFailed("The API key has expired.", code="expired_api_key")
        return caller

    async def _find(self, digest: bytes, catalog: KeyStore) -> tuple[ApiKey, Caller]:
        """Return the key with this hash, from the catalog at most every KEY_CACHE_SECONDS.

        It is found by the hash of what was sent: the time that takes says nothing about the keys.
        """
        until, key, caller = self._callers.get(digest, (0.0, None, ANONYMOUS))
        if key is not None and self._clock() < until:
            return key, caller
        # Requests that come meanwhile wait for the same answer.
        if digest not in self._finding:
            found = asyncio.ensure_future(self._load(digest, catalog))
            self._finding[digest] = found
            found.add_done_callback(lambda _: self._finding.pop(digest, None))
        loaded = await asyncio.shield(self._finding[digest])
        if loaded is None:
            self._callers.pop(digest, None)
            raise AuthenticationFailed("The API key is wrong.")
        self._callers[digest] = (self._clock() + KEY_CACHE_SECONDS, *loaded)
        return loaded  # type: ignore[no-any-return]

    async def _load(self, digest: bytes, catalog: KeyStore) -> tuple[ApiKey, Caller] | None:
        loaded = await self._in_thread(_find_caller, catalog, digest)
        if loaded is not None:
            # No request waits for this write.
            recorded = asyncio.ensure_future(self._in_thread(_record_use, catalog, loaded[0]))
            self._recording.add(recorded)
            recorded.add_done_callback(self._recording.discard)
        return loaded

    async def _in_thread(self, function: Callable[..., ResultT], *args: Any) -> ResultT:
        """Run a function of the catalog in a thread. These are not those that uploads and lists may all occupy."""
        if self._threads is None:
            self._threads = CapacityLimiter(MAX_THREADS)
        return await to_thread.run_sync(function, *args, limiter=self._threads)


def _find_caller(catalog: KeyStore, digest: bytes) -> tuple[ApiKey, Caller] | None:
    key = catalog.find_key(digest)
    if key is None:
        return None
    tokens = 0 if key.tokens_per_day is None else catalog.tokens_of_day(key.owner, key.id)
    return key, Caller(key.id, key, tokens)


def _record_use(catalog: KeyStore, key: ApiKey) -> None:
    try:
        catalog.record_key_use(key)
    except LlmApiError as error:
        log.warning("the last use of %s is not recorded: %s", key.id, error.message)


def _configured_digest(entry: str) -> bytes:
    is_hash = entry.startswith(KEY_HASH_PREFIX)
    return bytes.fromhex(entry.removeprefix(KEY_HASH_PREFIX)) if is_hash else key_digest(entry)


def _given_key(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "").strip()
