"""Uploads: bounded memory, new versions of existing documents, and idempotency keys."""

from __future__ import annotations

import tracemalloc

import httpx
import pytest

from api.dependencies import Services
from api.uploads import UploadReceiver
from core.catalog import Catalog
from tests.fakes.job_stream import FakeHints

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
    tagged = (await upload(http, "a.txt", b"one", replace="true", attributes='{"year": 2024}')).json()["data"][0]
    elsewhere = (await upload(http, "a.txt", b"one", replace="true", collection="b")).json()["data"][0]

    assert (again["id"], again["duplicate"]) == (first["id"], True)
    assert (tagged["id"], tagged["duplicate"], tagged["attributes"]) == (first["id"], False, {"year": 2024})
    assert elsewhere["id"] != first["id"]
    assert catalog.get_document(first["id"]).generation == 2
    assert originals(services) == [b"one", b"one"]


@pytest.mark.parametrize(
    ("form", "param"), [({"replace": "yes"}, "replace"), ({"attributes": '{"a": {}}'}, "attributes")]
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
