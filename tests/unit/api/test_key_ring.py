"""How long what the catalog says of keys is used, and what holds while the catalog does not answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest
from starlette.datastructures import Headers

from api.auth import KEY_CACHE_SECONDS, KeyRing
from api.callers import ANONYMOUS, Caller
from core.errors import AuthenticationFailed, Unavailable
from core.keys import ApiKey, key_digest

pytestmark = pytest.mark.asyncio

KEY = ApiKey(id="key-1", owner="alice", created_at=0.0)


@dataclass
class Store:
    """Knows the keys in `known`, by the keys themselves, and counts the questions."""

    known: dict[str, ApiKey] = field(default_factory=dict)
    asked: int = 0
    is_away: bool = False

    def find_key(self, digest: bytes) -> ApiKey | None:
        self._answer()
        return next((key for secret, key in self.known.items() if key_digest(secret) == digest), None)

    def has_keys(self) -> bool:
        self._answer()
        return bool(self.known)

    def tokens_of_day(self, owner: str, key: str) -> int:
        return 0

    def record_key_use(self, key: ApiKey) -> None:
        raise Unavailable("It cannot be written now.")  # which concerns no request

    def _answer(self) -> None:
        self.asked += 1
        if self.is_away:
            raise Unavailable("The catalog does not answer.")


class Ring:
    """A key ring with a clock that tests set."""

    def __init__(self, store: Store) -> None:
        self.now, self._store = 100.0, store
        self._ring = KeyRing([], clock=lambda: self.now)

    async def caller(self, key: str = "") -> Caller:
        headers = Headers({"authorization": f"Bearer {key}"} if key else {})
        return await self._ring.identify(headers, self._store)


async def test_a_key_is_looked_up_once_in_some_seconds() -> None:
    store = Store({"secret": KEY})
    ring = Ring(store)
    callers = await asyncio.gather(*(ring.caller("secret") for _ in range(20)))
    assert {caller.owner for caller in callers} == {"alice"}
    asked = store.asked
    store.known["secret"] = replace(KEY, revoked_at=1.0)
    ring.now += KEY_CACHE_SECONDS - 0.1
    assert (await ring.caller("secret")).key == "key-1" and store.asked == asked
    ring.now += 0.1
    with pytest.raises(AuthenticationFailed, match="revoked"):
        await ring.caller("secret")
    assert store.asked == asked + 1


async def test_the_first_key_counts_after_some_seconds_and_its_end_opens_nothing() -> None:
    store = Store()
    ring = Ring(store)
    assert await ring.caller() == await ring.caller("none") == ANONYMOUS and store.asked == 1
    store.known["secret"] = KEY
    ring.now += KEY_CACHE_SECONDS
    with pytest.raises(AuthenticationFailed):
        await ring.caller()
    store.known.clear()
    ring.now += KEY_CACHE_SECONDS
    with pytest.raises(AuthenticationFailed):
        await ring.caller()


async def test_a_catalog_that_does_not_answer_opens_nothing() -> None:
    store = Store(is_away=True)
    ring = Ring(store)
    with pytest.raises(Unavailable):
        await ring.caller()
    store.is_away = False
    assert await ring.caller() == ANONYMOUS
    store.is_away = True
    ring.now += KEY_CACHE_SECONDS
    assert await ring.caller() == ANONYMOUS, "nobody can have created a key meanwhile"
    store.is_away, store.known["secret"] = False, KEY
    ring.now += KEY_CACHE_SECONDS
    assert (await ring.caller("secret")).owner == "alice"
    store.is_away = True
    ring.now += KEY_CACHE_SECONDS
    with pytest.raises(Unavailable):
        await ring.caller("secret")
