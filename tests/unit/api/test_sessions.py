"""A browser signs in with a key: the cookie works in its place, for pages of this server only, as long as the key."""

from __future__ import annotations

from dataclasses import replace
from http.cookies import SimpleCookie

import httpx
import pytest

from api.dependencies import Services
from api.sessions import COOKIE
from core.catalog import Catalog
from core.errors import Unavailable
from core.keys import KeyRights, Scope, key_digest
from tests.fakes.session_store import FakeSessions
from tests.unit.api.conftest import client_of
from tests.unit.api.test_keys import bearer, error_of

pytestmark = pytest.mark.asyncio

SESSION = "/v1/session"
OWN = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def key_id(catalog: Catalog) -> str:
    return catalog.create_key(key_digest("secret"), KeyRights(owner="alice", scopes=(Scope.CHAT,))).id


async def signed_in(http: httpx.AsyncClient, **headers: str) -> dict[str, str]:
    """Sign in and return the attributes of the cookie, which the client sends from now on."""
    answer = await http.post(SESSION, json={"key": "secret"}, headers=OWN | headers)
    assert (answer.status_code, answer.content) == (204, b""), answer.text
    cookie = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
    http.cookies.set(COOKIE, cookie.value)
    return {name: str(value) for name, value in cookie.items() if value}


async def test_the_cookie_works_in_place_of_the_key_until_it_is_dropped(http: httpx.AsyncClient, key_id: str) -> None:
    before = (await http.get(SESSION)).json()
    assert before == {"object": "session", "key_required": True, "signed_in": False, "owner": None, "scopes": []}
    assert error_of(await http.get("/v1/models"), 401)["code"] == "missing_api_key"
    attributes = await signed_in(http)
    assert attributes == {"httponly": "True", "samesite": "strict", "path": "/", "max-age": "604800"}
    assert (await http.get("/v1/models")).status_code == 200
    found = (await http.get(SESSION)).json()
    assert (found["signed_in"], found["owner"], found["scopes"]) == (True, "alice", ["chat"])
    left = await http.delete(SESSION, headers=OWN)
    assert left.status_code == 204 and "Max-Age=0" in left.headers["set-cookie"]
    assert error_of(await http.get("/v1/models"), 401)["code"] == "session_ended"


async def test_the_end_of_the_key_is_the_end_of_its_sessions(
    http: httpx.AsyncClient, key_id: str, catalog: Catalog
) -> None:
    catalog.create_key(key_digest("admin"), KeyRights(owner="root", scopes=(Scope.ADMIN,)))
    await signed_in(http)
    assert (await http.delete(f"/v1/keys/{key_id}", headers=bearer("admin"))).status_code == 200
    assert error_of(await http.get("/v1/models"), 401)["code"] == "revoked_api_key"
    assert error_of(await http.post(SESSION, json={"key": "secret"}, headers=OWN), 401)["code"] == "revoked_api_key"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"sec-fetch-site": "none"}, 200),
        ("GET", {"sec-fetch-site": "same-site"}, 403),
        ("GET", {"sec-fetch-site": "cross-site"}, 403),
        ("GET", {"origin": "http://page"}, 403),
        ("POST", {}, 403),
        ("POST", {"sec-fetch-site": "none"}, 403),
        ("POST", {"origin": "http://localhost"}, 200),
        ("POST", {"origin": "http://page"}, 403),
        ("POST", {"origin": "http://page", "sec-fetch-site": "cross-site"}, 403),
        ("POST", {"origin": "null"}, 403),
        ("POST", {"origin": "https://llm.example", "sec-fetch-site": "same-origin"}, 200),
    ],
)
async def test_the_cookie_works_for_pages_of_this_server_only(
    services: Services, key_id: str, method: str, headers: dict[str, str], status: int
) -> None:
    settings = services.settings.model_copy(update={"cors_origins": ("http://page", "null")})
    async with client_of(replace(services, settings=settings)) as http:
        await signed_in(http)
        path = "/v1/models" if method == "GET" else "/v1/tokenize"
        body = None if method == "GET" else {"prompt": "a"}
        answer = await http.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert (await http.request(method, path, json=body, headers=headers | bearer("secret"))).status_code == 200


async def test_a_key_in_the_header_counts_and_not_the_cookie(
    http: httpx.AsyncClient, key_id: str, catalog: Catalog
) -> None:
    catalog.create_key(key_digest("other"), KeyRights(owner="bob"))
    await signed_in(http)
    assert (await http.get(SESSION, headers=bearer("other"))).json()["owner"] == "bob"
    assert error_of(await http.get("/v1/models", headers=bearer("wrong")), 401)["code"] == "invalid_api_key"


async def test_nobody_signs_in_with_a_wrong_key_without_keys_or_from_another_page(
    http: httpx.AsyncClient, services: Services, catalog: Catalog
) -> None:
    assert error_of(await http.post(SESSION, json={"key": "a"}), 400)["code"] == "no_key_required"
    scopes = (await http.get(SESSION)).json()["scopes"]
    assert "admin" in scopes and "chat" in scopes, "without keys, everyone may do everything"
    catalog.create_key(key_digest("secret"), KeyRights(owner="alice"))
    async with client_of(services) as later:
        wrong = await later.post(SESSION, json={"key": "wrong"}, headers=OWN)
        assert error_of(wrong, 401)["code"] == "invalid_api_key" and "set-cookie" not in wrong.headers
        foreign = await later.post(SESSION, json={"key": "secret"}, headers={"sec-fetch-site": "same-site"})
        assert error_of(foreign, 403)["code"] == "origin_not_allowed"
        assert (await later.post(SESSION, json={"key": "secret"})).status_code == 204, "a program sends no origin"


async def test_the_cookie_is_secure_under_https_and_belongs_to_the_path_of_the_proxy(
    services: Services, key_id: str
) -> None:
    settings = services.settings.model_copy(update={"root_path": "/llm"})
    async with client_of(replace(services, settings=settings)) as http:
        attributes = await signed_in(http, origin="https://llm.example")
        assert attributes["secure"] == "True" and attributes["path"] == "/llm"


async def test_without_redis_a_session_is_answered_503_and_a_key_works(
    http: httpx.AsyncClient, services: Services, key_id: str
) -> None:
    await signed_in(http)
    assert isinstance(services.sessions, FakeSessions)
    services.sessions.failure = Unavailable("Redis does not answer.")
    assert (await http.get("/v1/models")).status_code == 503
    assert (await http.get("/v1/models", headers=bearer("secret"))).status_code == 200
