"""API keys: who bears one and what it may do, and which objects that lets a request see and change."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

from core.errors import InvalidRequest

#: The owner of everything while there are no keys, and of the keys in API_KEYS.
DEFAULT_OWNER = "default"
#: Shows people and secret scanners what a leaked text is.
KEY_PREFIX = "sk-llm-api-"


class Scope(StrEnum):
    """What the bearer of a key may do."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    DOCUMENTS_READ = "documents:read"
    DOCUMENTS_WRITE = "documents:write"
    #: Everything, the objects of all owners included.
    ADMIN = "admin"


#: The scopes of a key for which none are named.
DEFAULT_SCOPES = (Scope.CHAT, Scope.EMBEDDINGS, Scope.DOCUMENTS_READ, Scope.DOCUMENTS_WRITE)


@dataclass(frozen=True, kw_only=True)
class KeyRights:
    """What a key may do, and on whose behalf."""

    #: Several keys may bear the name, so that a key can be replaced by another.
    owner: str
    scopes: tuple[Scope, ...] = DEFAULT_SCOPES
    #: The names of the only collections and models that the key may use; None: all.
    collections: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    #: None: RATE_LIMIT_REQUESTS_PER_MINUTE and MAX_CONCURRENT_REQUESTS_PER_KEY.
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    #: None: any number.
    tokens_per_day: int | None = None
    #: Unix seconds; None: never.
    expires_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class ApiKey(KeyRights):
    """A key in the catalog. The key itself is not there: its hash is, which this does not have."""

    id: str
    created_at: float
    revoked_at: float | None = None
    #: As of some minutes ago.
    last_used_at: float | None = None


@dataclass(frozen=True)
class Reach:
    """The objects that a request sees and changes: those of one owner, in some collections.

    The API asks here, and the catalog's queries take it as a condition, so that both decide alike.
    """

    #: None: the objects of all owners.
    owner: str | None = None
    #: Names; None: all collections.
    collections: tuple[str, ...] | None = None

    def owns(self, owner: str) -> bool:
        """Return whether an object of this owner may be changed."""
        return self.owner is None or self.owner == owner

    def sees(self, collection: str) -> bool:
        """Return whether the collection of this name, and what is in it, may be seen."""
        return self.collections is None or collection in self.collections


EVERYTHING = Reach()


def new_secret() -> str:
    """Return a new key. It cannot be guessed, so a fast hash protects it."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def key_digest(key: str) -> bytes:
    """Return the SHA-256 of a key."""
    return hashlib.sha256(key.encode()).digest()


def require_consistent(rights: KeyRights) -> None:
    """Raise InvalidRequest if an admin key is limited to some collections or models: it sees everything."""
    for name in ("collections", "models"):
        if Scope.ADMIN in rights.scopes and getattr(rights, name) is not None:
            raise InvalidRequest(f"A key with the scope admin cannot be limited to some {name}.", param=name)
