"""Uploads: bounded memory, new versions of what is there, and keys that name one content."""

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


async def test_a_replaced_file_is_a_new_version_and_the_old_one_is_found_meanwhile(
    http: httpx.AsyncClient, catalog: Catalog, services: Services, hints: FakeHints
) -> None:
    first = (await upload(http, "manuals/a.txt", b"one", replace="true")).json()["data"][0]
    hints.on_ingest = lambda _: None
    second = (await upload(http, "manuals/a.txt", b"two", replace="true")).json()["data"][0]
    row = catalog.get_document(first["id"])

    assert (second["id"], second["duplicate"], second["status"]) == (first["id"], False, "queued")
    assert (row.generation, row.active_generation, row.is_stale) == (2, 1, True)
    assert originals(services) == [b"two"]


async def test_replacing_by_the_same_changes_nothing_and_other_attributes_do(
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
async def test_wrong_fields_leave_nothing(
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


def test_what_is_in_memory_does_not_grow_with_the_files(services: Services) -> None:
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
    items = receiver.commit()
    receiver.close()
    assert [item.blob.size_bytes for item in items] == [160 * 65536] * 5
    assert peak_bytes < 2**20
