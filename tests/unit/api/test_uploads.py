"""Uploads: bounded memory, new versions of existing documents, and idempotency keys."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from api import upload_slots
from api.dependencies import Services
from api.uploads import UploadReceiver
from core.catalog import Catalog
from tests.fakes.job_stream import FakeHints
from tests.unit.api.conftest import client_of

UPLOAD = "/v1/rag/documents/upload"


def originals(services: Services) -> list[bytes]:
    return sorted(path.read_bytes() for path in services.blobs.root.rglob("originals/*/*"))


async def upload(http: httpx.AsyncClient, name: str, content: bytes, **form: str) -> httpx.Response:
    return await http.post(UPLOAD, files={"files": (name, content)}, data=form)


async def test_a_replaced_file_is_a_new_version_and_the_old_one_stays_searchable_meanwhile(
    http: httpx.AsyncClient, catalog: Catalog, services: Services, hints: FakeHints
) -> None:
    first = (await upload(http, "manuals/a.txt", b"one", replace="true")).json()["data"][0]
    hints.on_ingest = lambda _: None
    second = (await upload(http, "manuals/a.txt", b"two", replace="true")).json()["data"][0]
    row = catalog.get_document(first["id"])

    assert (second["id"], second["duplicate"], second["status"]) == (first["id"], False, "queued")
    assert (row.generation, row.active_generation, row.is_stale) == (2, 1, True)
    assert originals(services) == [b"two"]


async def test_replacing_by_the_same_file_changes_nothing_unless_attributes_differ(
    http: httpx.AsyncClient, catalog: Catalog, services: Services
) -> None:
    first = (await upload(http, "a.txt", b"one", replace="true")).json()["data"][0]
    again = (await upload(http, "a.txt", b"one", replace="true")).json()["data"][0]
    tagged = (await upload(http, "a.txt", b"one", replace="true", attributes='{"year": [2024]}')).json()["data"][0]
    elsewhere = (await upload(http, "a.txt", b"one", replace="true", collection="b")).json()["data"][0]

    assert (again["id"], again["duplicate"]) == (first["id"], True)
    assert (tagged["id"], tagged["duplicate"], tagged["attributes"]) == (first["id"], False, {"year": [2024]})
    assert elsewhere["id"] != first["id"]
    assert catalog.get_document(first["id"]).generation == 2
    assert originals(services) == [b"one", b"one"]


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"replace": "yes"}, "replace"),
        ({"attributes": '{"a": {}}'}, "attributes"),
        ({"attributes": '{"a": [1, {}]}'}, "attributes"),
    ],
)
async def test_invalid_fields_leave_nothing_behind(
    http: httpx.AsyncClient, services: Services, form: dict[str, str], param: str
) -> None:
    answer = await upload(http, "a.txt", b"one", **form)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param
    assert originals(services) == []


async def test_an_idempotency_key_names_one_content(http: httpx.AsyncClient, services: Services) -> None:
    headers = {"idempotency-key": "upload-1"}
    files = [("files", ("a.txt", b"one")), ("files", ("b.txt", b"two"))]
    first = (await http.post(UPLOAD, files=files, headers=headers)).json()["data"]
    again = (await http.post(UPLOAD, files=files, headers=headers)).json()["data"]
    other = await http.post(UPLOAD, files={"files": ("a.txt", b"changed")}, headers=headers)

    assert [one["id"] for one in again] == [one["id"] for one in first]
    assert all(one["duplicate"] for one in again) and not any(one["duplicate"] for one in first)
    assert other.status_code == 400 and other.json()["error"]["param"] == "Idempotency-Key"
    assert originals(services) == [b"one", b"two"]


@pytest.mark.parametrize("replace", ["false", "true"])
async def test_an_idempotency_key_names_one_request(http: httpx.AsyncClient, services: Services, replace: str) -> None:
    async def send(name: str, content: bytes, **form: str) -> httpx.Response:
        headers = {"idempotency-key": "key"}
        return await http.post(
            UPLOAD, files={"files": (name, content)}, data=form | {"replace": replace}, headers=headers
        )

    first = (await send("a.txt", b"one", attributes='{"year": 2024}')).json()["data"][0]
    again = (await send("a.txt", b"one", attributes='{"year": 2024}')).json()["data"][0]
    await upload(http, "b.txt", b"of another name")
    others = [
        await send("a.txt", b"two", attributes='{"year": 2024}'),
        await send("b.txt", b"one", attributes='{"year": 2024}'),
        await send("a.txt", b"one"),
        await send("a.txt", b"one", attributes='{"year": 2024}', collection="other"),
    ]
    assert (again["id"], again["duplicate"]) == (first["id"], True)
    assert [answer.status_code for answer in others] == [400] * 4
    assert {answer.json()["error"]["param"] for answer in others} == {"Idempotency-Key"}
    assert originals(services) == [b"of another name", b"one"]
    assert [one.name for one in services.catalog.list_collections()] == ["default"], (
        "a refused request created its collection"
    )


async def test_a_document_can_return_to_an_earlier_content(http: httpx.AsyncClient) -> None:
    first = (await upload(http, "a.txt", b"one")).json()["data"][0]
    await upload(http, "a.txt", b"two", replace="true")
    second = (await upload(http, "a.txt", b"one")).json()["data"][0]
    again = await upload(http, "a.txt", b"two", replace="true")
    assert second["id"] != first["id"]
    assert (again.json()["data"][0]["id"], again.json()["data"][0]["duplicate"]) == (first["id"], True)


async def test_repetitions_are_recognised_by_the_collection_and_not_by_its_name(
    http: httpx.AsyncClient, catalog: Catalog
) -> None:
    first = (await upload(http, "a.txt", b"one", collection="reports")).json()["data"][0]
    await http.patch("/v1/rag/collections/reports", json={"name": "old reports"})
    other = (await upload(http, "a.txt", b"one", collection="reports")).json()["data"][0]
    same = (await upload(http, "a.txt", b"one", collection="old reports")).json()["data"][0]
    assert (other["duplicate"], other["collection"], same["id"]) == (False, "reports", first["id"])


async def test_an_invalid_boundary_is_refused(http: httpx.AsyncClient) -> None:
    headers = {"content-type": f"multipart/form-data; boundary={'b' * 5000}"}
    answer = await http.post(UPLOAD, content=b"x", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_multipart")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**400])
async def test_whole_numbers_beyond_64_bits_are_refused(http: httpx.AsyncClient, number: int) -> None:
    answer = await upload(http, "a.txt", b"one", attributes=f'{{"a": {number}}}')
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "attributes")
    exact = (await upload(http, "a.txt", b"one", attributes=f'{{"a": {2**63 - 1}}}')).json()["data"][0]
    assert exact["attributes"] == {"a": 2**63 - 1}


def test_memory_does_not_grow_with_the_size_of_the_files(services: Services) -> None:
    receiver = UploadReceiver(services.blobs, "multipart/form-data; boundary=B", 10**9)
    block = b"x" * 65536
    tracemalloc.start()
    for number in range(5):
        receiver.feed(b'--B\r\nContent-Disposition: form-data; name="f"; filename="%d.txt"\r\n\r\n' % number)
        for _ in range(160):
            receiver.feed(block)
        receiver.feed(b"\r\n")
    receiver.feed(b"--B--\r\n")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    committed = receiver.commit()
    receiver.close()
    assert [original.blob.size_bytes for original in committed] == [160 * 65536] * 5
    assert peak_bytes < 2**20


def multipart(*parts: tuple[bytes, bytes]) -> tuple[bytes, dict[str, str]]:
    """Return a body with these parts (headers and content) and its content type."""
    body = b"".join(b"--x\r\n%s\r\n\r\n%s\r\n" % part for part in parts) + b"--x--\r\n"
    return body, {"content-type": "multipart/form-data; boundary=x"}


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_an_upload_holds_one_file_open_at_a_time(services: Services) -> None:
    part = (b'Content-Disposition: form-data; name="files"; filename="a.txt"', b"text")
    body, headers = multipart(*[part] * 100)
    before = descriptors()
    receivers = [UploadReceiver(services.blobs, headers["content-type"], 1_000_000) for _ in range(10)]
    try:
        for receiver in receivers:
            receiver.feed(body[:-200])
        assert descriptors() - before <= len(receivers)
        for receiver in receivers:
            receiver.feed(body[-200:])
            assert len(receiver.commit()) == 100
        assert descriptors() == before
    finally:
        for receiver in receivers:
            receiver.close()
    assert len(originals(services)) == 1000


@pytest.mark.parametrize("head", [b'name=""; filename=""', b'name="files"; filename=""', b'name="a"', b""])
async def test_the_parts_of_an_upload_are_counted_whatever_they_are(
    http: httpx.AsyncClient, services: Services, head: bytes
) -> None:
    body, headers = multipart(*[(b"Content-Disposition: form-data; " + head, b"")] * 1020)
    answer = await http.post(UPLOAD, content=body, headers=headers)
    assert answer.status_code == 400 and "200 parts" in answer.json()["error"]["message"]
    assert list(services.blobs.staging.iterdir()) == []


@pytest.mark.parametrize("is_declared", [True, False])
async def test_an_upload_has_a_bound_in_all(services: Services, is_declared: bool) -> None:
    settings = services.settings.model_copy(update={"max_upload_body_bytes": 100_000})
    part = (b'Content-Disposition: form-data; name="files"; filename="a.txt"', b"x" * 30_000)
    body, headers = multipart(*[part] * 4)

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    async with client_of(replace(services, settings=settings)) as client:
        answer = await client.post(UPLOAD, content=body if is_declared else pieces(), headers=headers)
        fits = await client.post(UPLOAD, content=multipart(*[part] * 3)[0], headers=headers)
    assert answer.status_code == 413 and "MAX_UPLOAD_BODY_BYTES" in answer.json()["error"]["message"]
    assert fits.status_code == 202
    assert list(services.blobs.staging.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (b"text/markdown; charset=utf-8", "text/markdown"),
        (b"text/pl\x00ain", None),
        (b"\x00", None),
        ("text/größe".encode(), None),
        (b"text", None),
        (b"a/" + b"b" * 200, None),
    ],
)
async def test_a_media_type_that_is_none_is_left_out(http: httpx.AsyncClient, given: bytes, stored: str | None) -> None:
    head = b'Content-Disposition: form-data; name="files"; filename="a.txt"\r\nContent-Type: ' + given
    body, headers = multipart((head, b"text"))
    answer = await http.post(UPLOAD, content=body, headers=headers)
    assert answer.status_code in (202, 400)
    if answer.status_code == 202:
        assert answer.json()["data"][0]["media_type"] == stored


@pytest.mark.parametrize(
    ("disposition", "path"),
    [
        ('filename="a.txt"', "a.txt"),
        ('filename="5%22 disk.txt"', '5" disk.txt'),
        ('filename="5\\" disk.txt"', '5" disk.txt'),
        ('filename="50%25.txt"', "50%25.txt"),
        ("filename*=UTF-8''na%C3%AFve%20%E2%82%AC.txt", "naïve €.txt"),
        ("filename*=utf-8'de'gr%C3%B6%C3%9Fe.txt", "größe.txt"),
        ("filename*=iso-8859-1''gr%F6%DFe.txt", "größe.txt"),
        ("filename=\"plain.txt\"; filename*=UTF-8''other.txt", "plain.txt"),
        ("filename*=unknown''a%C3.txt", "aÃ.txt"),
        ("filename*=UTF-8''a%00b.txt", "ab.txt"),
        ('filename="größe.txt"', "größe.txt"),
    ],
)
async def test_names_of_files_stay_as_they_are(http: httpx.AsyncClient, disposition: str, path: str) -> None:
    body, headers = multipart((f'Content-Disposition: form-data; name="files"; {disposition}'.encode(), b"text"))
    answer = await http.post(UPLOAD, content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.json()["data"][0]["path"] == path


async def test_an_encoded_part_is_refused_by_name(http: httpx.AsyncClient) -> None:
    head = b'Content-Disposition: form-data; name="files"; filename="a.txt"\r\nContent-Transfer-Encoding: BASE64'
    body, headers = multipart((head, b"dGV4dA=="))
    answer = await http.post(UPLOAD, content=body, headers=headers)
    assert answer.status_code == 400 and "Content-Transfer-Encoding" in answer.json()["error"]["message"]


def body_of(name: str) -> bytes:
    head = f'--B\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'
    return f"{head}some text\r\n--B--\r\n".encode()


async def send(http: httpx.AsyncClient, body: AsyncIterator[bytes]) -> httpx.Response:
    return await http.post(UPLOAD, content=body, headers={"content-type": "multipart/form-data; boundary=B"})


async def in_parts(name: str, proceed: asyncio.Event, begun: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield the body of an upload: its beginning, and the rest when it may proceed."""
    body = body_of(name)
    yield body[:70]
    begun.set()
    await proceed.wait()
    yield body[70:]


async def test_uploads_are_received_a_bounded_number_at_a_time(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_slots, "MAX_UPLOADS", 2)
    monkeypatch.setattr(upload_slots, "WAIT_SECONDS", 0.1)
    proceed = asyncio.Event()
    async with client_of(services) as http, asyncio.timeout(20):
        begun = [asyncio.Event(), asyncio.Event()]
        first = [
            asyncio.create_task(send(http, in_parts(f"{number}.txt", proceed, event)))
            for number, event in enumerate(begun)
        ]
        for event in begun:
            await event.wait()
        refused = await send(http, in_parts("c.txt", proceed, asyncio.Event()))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_uploads")
        assert int(refused.headers["retry-after"]) >= 1
        monkeypatch.setattr(upload_slots, "WAIT_SECONDS", 20)
        waiting = asyncio.create_task(send(http, in_parts("d.txt", proceed, asyncio.Event())))
        proceed.set()
        assert [(await answer).status_code for answer in (*first, waiting)] == [202, 202, 202]
    assert len(originals(services)) == 3


async def test_an_upload_that_stands_still_frees_its_slot(
    http: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_slots, "MAX_PAUSE_SECONDS", 0.1)
    async with asyncio.timeout(20):
        answer = await send(http, in_parts("a.txt", asyncio.Event(), asyncio.Event()))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "upload_stopped")
    assert list(services.blobs.staging.iterdir()) == []
