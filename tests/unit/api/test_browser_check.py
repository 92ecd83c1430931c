"""Pages of other sites can neither read nor change anything: by DNS rebinding, by forms, or by scripts."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.dependencies import Services
from core.errors import ConfigurationError
from core.settings import load_settings
from tests.unit.api.conftest import client_of
from tests.unit.api.test_errors import error_of

pytestmark = pytest.mark.asyncio

HOSTS = {
    "": [
        ("127.0.0.1:8000", 200), ("127.8.9.1", 200), ("[::1]:8000", 200), ("192.168.1.20:8000", 200),
        ("[fd00::1]", 200),
        ("localhost:8000", 200), ("LOCALHOST", 200), ("localhost.", 200), ("app.localhost", 200),
        ("evil.example", 403), ("evil.example:8000", 403), ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("api", 403), ("notlocalhost", 403), ("", 403), ("127.0.0.1@evil.example", 403), ("[::1].evil.example", 403),
    ],
    "llm.example.org,*.internal": [
        ("llm.example.org:443", 200), ("a.llm.example.org", 403), ("a.internal", 200), ("a.b.internal", 200),
        ("internal", 403), ("localhost", 200),
    ],
    "*": [("evil.example", 200)],
}  # fmt: skip


@pytest.mark.parametrize("allowed", HOSTS)
async def test_only_allowed_names_of_the_host_are_served(services: Services, allowed: str) -> None:
    settings = load_settings(_env_file=None, data_dir=services.settings.data_dir, allowed_hosts=allowed)
    async with client_of(replace(services, settings=settings)) as client:
        for host, status in HOSTS[allowed]:
            for path in ("/health", "/v1/rag/documents", "/docs"):
                answer = await client.get(path, headers={"host": host})
                assert answer.status_code == status, (host, path)
            if status == 403:
                error = error_of(answer, 403)
                assert error["code"] == "host_not_allowed" and "ALLOWED_HOSTS" in error["message"]


async def test_a_server_of_other_machines_answers_under_the_names_of_its_machine(services: Services) -> None:
    settings = load_settings(_env_file=None, data_dir=services.settings.data_dir, host="0.0.0.0", api_keys="one")
    own = socket.gethostname()
    async with client_of(replace(services, settings=settings)) as client:
        for host, status in ((f"{own}:8000", 200), (f"{own.partition('.')[0]}.local", 200), ("evil.example", 403)):
            assert (await client.get("/health", headers={"host": host})).status_code == status


async def test_a_second_host_header_cannot_hide_the_first(http: httpx.AsyncClient) -> None:
    for hosts in (("localhost", "evil.example"), ("evil.example", "localhost")):
        assert (await http.get("/health", headers=[("host", host) for host in hosts])).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost"}, 200),
        ({"origin": "http://page"}, 200),
        ({"origin": "http://page", "sec-fetch-site": "cross-site"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "https://ai.example", "sec-fetch-site": "same-origin"}, 200),  # a proxy that renames the host
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:3000"}, 403),
        ({"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
async def test_pages_of_other_sites_can_change_nothing(services: Services, headers: Any, status: int) -> None:
    settings = services.settings.model_copy(update={"cors_origins": ("http://page",)})
    async with client_of(replace(services, settings=settings)) as client:
        uploaded = await client.post("/v1/rag/documents/upload", files={"files": ("a.txt", b"text")}, headers=headers)
        deleted = await client.delete(
            f"/v1/rag/documents/{uploaded.json().get('data', [{}])[0].get('id')}", headers=headers
        )
        listed = await client.get("/v1/rag/documents", headers=headers)
    assert (uploaded.status_code, deleted.status_code) == ((202, 200) if status == 200 else (403, 403))
    assert listed.status_code == 200
    if status == 403:
        assert "CORS_ORIGINS" in error_of(uploaded, 403)["message"]


@pytest.mark.parametrize("name", ["http://api", "api:8000", "a b", "a/b", "*api"])
async def test_a_name_with_more_than_a_name_stops_the_start(name: str) -> None:
    with pytest.raises(ConfigurationError, match="ALLOWED_HOSTS"):
        load_settings(_env_file=None, allowed_hosts=name)
