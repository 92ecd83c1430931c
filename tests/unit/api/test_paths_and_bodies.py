"""Paths and bodies as clients send them: answered, or refused with a message that says what is right."""

from __future__ import annotations

import gc
import gzip
import json
import zlib
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api import json_bodies
from api.dependencies import Services
from core.errors import ConfigurationError
from core.settings import load_settings
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import client_of
from tests.unit.api.test_errors import CHAT, JSON, MESSAGES, error_of

pytestmark = pytest.mark.asyncio

TEXT = {"messages": [{"role": "user", "content": "Größe 🙂"}]}
PLAIN = json.dumps(TEXT, ensure_ascii=False)


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("POST", "/chat/completions", CHAT),
        ("POST", "/v1/v1/chat/completions", CHAT),
        ("POST", "/v1/v1/v1/chat/completions", CHAT),
        ("POST", "//v1/chat/completions", CHAT),
        ("POST", "/v1//chat/completions", CHAT),
        ("POST", "/v1/chat/completions/", CHAT),
        ("POST", "/api/chat/completions", CHAT),
        ("POST", "/api/v1/chat/completions", CHAT),
        ("GET", "/models/", "/v1/models"),
        ("GET", "/health/", "/health"),
        ("GET", "/v1/nothing", None),
        ("GET", "/nothing", None),
        ("GET", "/v1" * 2000, None),
    ],
)
async def test_a_wrong_path_is_refused_with_the_right_one(
    http: httpx.AsyncClient, method: str, path: str, right: str | None
) -> None:
    error = error_of(await http.request(method, f"http://localhost{path}"), 404)
    assert error["code"] == "unknown_url"
    assert error["message"].endswith(f"Did you mean {right}?") if right else "mean" not in error["message"]


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/docs", "/openapi.json", "/v1/nothing", CHAT])
async def test_head_answers_as_get_without_a_body(http: httpx.AsyncClient, path: str) -> None:
    head, got = await http.head(path), await http.get(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_head_of_a_stream_ends(http: httpx.AsyncClient) -> None:
    job = (await http.post(CHAT, json=TEXT, headers={"prefer": "respond-async"})).json()
    head = await http.head(f"/v1/jobs/{job['id']}/events")
    assert head.content == b""


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xef\xbb\xbf" + PLAIN.encode(), {}),
        (PLAIN.encode(), {"content-type": "application/json; charset=UTF-8"}),
        (PLAIN.encode(), {"content-type": 'application/json; charset="utf8"'}),
        (PLAIN.encode("utf-16"), {}),
        (PLAIN.encode("utf-16"), {"content-type": "application/json; charset=utf-16"}),
        (PLAIN.encode("utf-16-be"), {"content-type": "application/json; charset=utf-16be"}),
        (PLAIN.encode("utf-32-le"), {}),
        (PLAIN.replace(" 🙂", "").encode("latin-1"), {"content-type": "application/json; charset=iso-8859-1"}),
        (gzip.compress(PLAIN.encode(), mtime=0), {"content-encoding": "gzip"}),
        (gzip.compress(PLAIN.encode(), mtime=0), {"content-encoding": "X-GZip"}),
        (PLAIN.encode(), {"content-encoding": "identity"}),
    ],
)
async def test_bodies_are_read_in_the_charset_and_encoding_that_they_have(
    http: httpx.AsyncClient, stream: FakeJobStream, body: bytes, headers: dict[str, str]
) -> None:
    answer = await http.post(CHAT, content=body, headers=JSON | headers)
    assert answer.status_code == 200, answer.text
    content = stream.submitted[-1].request.messages[0].content
    assert content in ("Größe 🙂", "Größe")


@pytest.mark.parametrize(
    ("body", "headers", "status", "named"),
    [
        (b"{}", {"content-type": "application/json; charset=zlib"}, 415, "'zlib'"),
        (b"{}", {"content-type": "application/json; charset=punycode"}, 415, "'punycode'"),
        (b"{}", {"content-encoding": "br"}, 415, "'br'"),
        (b"{}", {"content-encoding": "gzip, gzip"}, 415, "gzip"),
        (b"{}", {"content-encoding": "gzip"}, 400, "gzip"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-3], {"content-encoding": "gzip"}, 400, "gzip"),
        (zlib.compress(PLAIN.encode()), {"content-encoding": "deflate"}, 415, "'deflate'"),
        (gzip.compress(b" " * 100_000, mtime=0), {"content-encoding": "gzip"}, 413, "MAX_BODY_BYTES"),
        (PLAIN.encode("latin-1", "replace"), {}, 400, "JSON"),
        (b"\xff\xfe\x00", {}, 400, "JSON"),
    ],
)
async def test_bodies_that_cannot_be_read_are_refused_by_name(
    http: httpx.AsyncClient, body: bytes, headers: dict[str, str], status: int, named: str
) -> None:
    assert named in error_of(await http.post(CHAT, content=body, headers=JSON | headers), status)["message"]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (r"a\ud800b", "a\ufffdb"),
        (r"\udc00\ud800", "\ufffd\ufffd"),
        (r"\ud83d\ude42 \ud83d", "🙂 \ufffd"),
        (r"\\ud800 \ud800", "\\ud800 \ufffd"),
        (r"\"\ud83d", '"\ufffd'),
    ],
)
async def test_half_a_character_is_replaced(
    http: httpx.AsyncClient, stream: FakeJobStream, given: str, read: str
) -> None:
    body = f'{{"messages":[{{"role":"user","content":"{given}"}}]}}'.encode()
    answer = await http.post(CHAT, content=body, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert stream.submitted[-1].request.messages[0].content == read


async def test_halves_of_characters_in_large_bodies_are_refused(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_bodies, "MAX_REPAIRED_BYTES", 1000)
    body = '{"messages":[{"role":"user","content":"%s\\ud800"}]}' % ("a" * 1000)
    error_of(await http.post(CHAT, content=body.encode(), headers=JSON), 400)


async def test_no_garbage_is_collected_while_a_body_of_many_values_is_decoded() -> None:
    collections: list[str] = []

    def note(phase: str, _: dict[str, int]) -> None:
        collections.append(phase)

    body = b'{"messages":[%s]}' % b",".join([b"[]"] * 15_000)
    gc.callbacks.append(note)
    try:
        json_bodies._decoded(body)
    finally:
        gc.callbacks.remove(note)
    assert collections.count("start") <= 1 and gc.isenabled(), "once, when it is allowed again"


FORWARDED = {"x-forwarded-prefix": "/llm"}


@pytest.mark.parametrize(
    ("changes", "headers", "prefix"),
    [
        ({}, {}, ""),
        ({}, FORWARDED, "/llm"),
        ({"trusted_proxies": "10.0.0.0/8"}, FORWARDED, ""),
        ({"trusted_proxies": "*"}, FORWARDED, "/llm"),
        ({"root_path": "/a/b/"}, {}, "/a/b"),
        ({"root_path": "/a"}, FORWARDED, "/llm"),
        ({}, {"x-forwarded-prefix": '/"><script>'}, ""),
        ({}, {"x-forwarded-prefix": "//evil.example"}, ""),
    ],
)
async def test_every_address_leads_back_through_the_proxy(
    services: Services, changes: dict[str, Any], headers: dict[str, str], prefix: str
) -> None:
    settings = load_settings(_env_file=None, data_dir=services.settings.data_dir, **changes)
    async with client_of(replace(services, settings=settings)) as client:
        for cut in {"", prefix}:
            page = (await client.get(f"{cut}/docs", headers=headers)).text
            job = await client.post(f"{cut}{CHAT}", json=TEXT, headers=headers | {"prefer": "respond-async"})
            assert job.headers["location"].startswith(f"{prefix}/v1/jobs/")
            assert f'href="{prefix}/docs-assets/' in page and f"url: '{prefix}/openapi.json'" in page
            document = (await client.get(f"{cut}/openapi.json", headers=headers)).json()
            assert document.get("servers") == ([{"url": prefix}] if prefix else None)
            wrong = await client.post(f"{cut}/chat/completions", json={"messages": MESSAGES}, headers=headers)
            assert f"{CHAT}?" in error_of(wrong, 404)["message"]


@pytest.mark.parametrize(
    "setting", [{"root_path": "llm"}, {"root_path": "/a b"}, {"trusted_proxies": "proxy"}, {"trusted_proxies": "1.2.3"}]
)
async def test_a_wrong_setting_for_proxies_stops_the_start(setting: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(setting)).upper()):
        load_settings(_env_file=None, **setting)
