"""API keys: `API_KEYS`, sent as `Authorization: Bearer KEY` (or `X-API-Key: KEY`).

A key never leaves this file: records, rows and logs identify it by the beginning of its hash.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers

from core.errors import AuthenticationFailed
from core.settings import KEY_HASH_PREFIX

#: Routes that need no key: probes, and the description of the API.
OPEN_PATHS = frozenset({"/health", "/ready", "/docs", "/openapi.json"})
#: The scripts and styles that `/docs` loads.
ASSETS_PATH = "/docs-assets"


def is_open(path: str) -> bool:
    """Return whether a path is served without a key."""
    return path in OPEN_PATHS or path.startswith((f"{ASSETS_PATH}/", "/docs/"))


class KeyRing:
    """The accepted keys, stored as digests. If there are none, every request is accepted."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_configured_digest(key) for key in keys]

    def identify(self, headers: Headers) -> str:
        """Return a short id of the request's key, or "" if no keys are configured.

        Raises:
            AuthenticationFailed: the key is missing or wrong.
        """
        if not self._digests:
            return ""
        given = _given_key(headers)
        if not given:
            raise AuthenticationFailed(
                "No API key was given. Send it as 'Authorization: Bearer KEY'.", code="missing_api_key"
            )
        digest = _digest(given)
        # Every key is compared, so the time taken does not reveal which one matched.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches):
            raise AuthenticationFailed("The API key is wrong.")
        return digest.hex()[:12]


def _configured_digest(entry: str) -> bytes:
    return bytes.fromhex(entry.removeprefix(KEY_HASH_PREFIX)) if entry.startswith(KEY_HASH_PREFIX) else _digest(entry)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _given_key(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "").strip()
