"""`/v1/keys` and `/v1/usage`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.base import CollectionName, WireAnswer, WireRequest
from core.keys import DEFAULT_SCOPES, KeyRights, Scope

MAX_COLLECTIONS_OF_KEY = 32
MAX_MODELS_OF_KEY = 32
MAX_LIMIT = 2**31 - 1


def _stripped(name: str) -> str:
    if name != name.strip():
        raise ValueError("a name has no spaces around it")
    return name


OwnerName = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$"), AfterValidator(_stripped)
]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]+$")]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
_ScopeName = Literal["chat", "embeddings", "documents:read", "documents:write", "admin"]


class NewKey(WireRequest):
    """Body of `POST /v1/keys`. What someone makes with the key belongs to `owner`, whom several keys may name.

    null and left out mean: all collections, all models, the limits in the settings, any number of tokens, no expiry.
    """

    owner: OwnerName
    scopes: list[_ScopeName] = Field([scope.value for scope in DEFAULT_SCOPES], min_length=1, max_length=len(Scope))
    collections: list[CollectionName] | None = Field(None, min_length=1, max_length=MAX_COLLECTIONS_OF_KEY)
    models: list[ModelName] | None = Field(None, min_length=1, max_length=MAX_MODELS_OF_KEY)
    requests_per_minute: Limit | None = None
    concurrent_requests: Limit | None = None
    tokens_per_day: Annotated[int, Field(ge=1, le=2**53)] | None = None
    expires_at: Annotated[int, Field(ge=0, le=2**40)] | None = Field(None, description="Unix seconds.")

    def rights(self) -> KeyRights:
        """Return what the key may do."""
        return KeyRights(
            owner=self.owner,
            scopes=tuple(scope for scope in Scope if scope.value in self.scopes),
            collections=_sorted(self.collections),
            models=_sorted(self.models),
            requests_per_minute=self.requests_per_minute,
            concurrent_requests=self.concurrent_requests,
            tokens_per_day=self.tokens_per_day,
            expires_at=self.expires_at,
        )


def _sorted(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(sorted(set(names)))


class Key(WireAnswer):
    """A key. `last_used_at` is accurate to some minutes. A key is revoked or expired for good."""

    id: str
    object: Literal["api_key"]
    owner: str
    scopes: list[_ScopeName]
    collections: list[str] | None
    models: list[str] | None
    requests_per_minute: int | None
    concurrent_requests: int | None
    tokens_per_day: int | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    #: The key itself, in the answer that creates it and never again.
    key: str | None = None


class Usage(WireAnswer):
    """What was used with a key on a day (UTC). `requests` counts requests for work (POST)."""

    id: str
    object: Literal["usage"]
    day: str
    owner: str
    key: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
