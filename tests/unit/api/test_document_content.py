"""A document's chunks and original over HTTP, indexing it again, and the filters of the list."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from api.dependencies import Services
from api.document_chunks import StoredChunk
from core.catalog import Catalog, NewDocument, Source
from core.settings import Settings
from ingest.indexing.chunk_files import write_chunks
from ingest.parsed_document import Chunk
from tests.fakes.job_stream import FakeHints

pytestmark = pytest.mark.asyncio

DOCUMENTS = "/v1/rag/documents"


async def post(http: httpx.AsyncClient, text: str = "One.", **attributes: Any) -> str:
    answer = await http.post(DOCUMENTS, json={"texts": [text], "metadata": [attributes]})
    return str(answer.json()["data"][0]["id"])


def store_chunks(services: Services, document_id: str, count: int) -> None:
    generation = services.catalog.get_document(document_id).active_generation
    assert generation is not None
    chunks = [
        Chunk(number, f"Text {number}.", 10 * number, 10 * number + 7, "hash", 1, "Intro", "Manual", 2)
        for number in range(count)
    ]
    write_chunks(services.blobs.chunks_path(document_id, generation), chunks)


async def test_chunks_come_in_pages_with_their_offsets(http: httpx.AsyncClient, services: Services) -> None:
    document_id = await post(http)
    store_chunks(services, document_id, 5)
    first = (await http.get(f"{DOCUMENTS}/{document_id}/chunks", params={"limit": 2})).json()
    assert first["data"][1] == {
        "object": "document.chunk",
        "index": 1,
        "text": "Text 1.",
        "start": 10,
        "end": 17,
        "page": 1,
        "last_page": 2,
        "section": "Intro",
        "header": "Manual",
    }
    assert (first["has_more"], first["generation"]) == (True, 1)
    rest = (await http.get(f"{DOCUMENTS}/{document_id}/chunks", params={"after": 1})).json()
    assert [chunk["index"] for chunk in rest["data"]] == [2, 3, 4]
    assert rest["has_more"] is False


async def test_what_is_read_is_what_parsing_writes() -> None:
    written = {field.name for field in msgspec.structs.fields(Chunk)}
    assert {field.name for field in msgspec.structs.fields(StoredChunk)} <= written


async def test_a_document_that_search_does_not_see_has_no_chunks(http: httpx.AsyncClient, hints: FakeHints) -> None:
    hints.on_ingest = lambda _: None
    answer = await http.post(DOCUMENTS, json={"texts": ["One."]}, headers={"prefer": "wait=0"})
    page = (await http.get(f"{DOCUMENTS}/{answer.json()['data'][0]['id']}/chunks")).json()
    assert (page["data"], page["generation"]) == ([], None)


async def test_chunks_that_are_not_there_are_said_to_be_missing(http: httpx.AsyncClient) -> None:
    answer = await http.get(f"{DOCUMENTS}/{await post(http)}/chunks")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "chunks_missing")
    assert (await http.get(f"{DOCUMENTS}/doc-none/chunks")).status_code == 404


async def test_the_original_is_a_download_that_runs_nothing(http: httpx.AsyncClient) -> None:
    document_id = await post(http, "<script>alert(1)</script>", filename='a "b"\u202e ü.html.txt')
    answer = await http.get(f"{DOCUMENTS}/{document_id}/original")
    assert answer.text == "<script>alert(1)</script>"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("attachment; ") and disposition.isascii()
    assert "%C3%BC.html.txt" in disposition
    part = await http.get(f"{DOCUMENTS}/{document_id}/original", headers={"range": "bytes=1-6"})
    assert (part.status_code, part.text) == (206, "script")


async def watched(catalog: Catalog, settings: Settings, content: bytes = b"Watched.") -> tuple[str, Path]:
    root = Path(settings.watch_roots[0].path)
    root.mkdir()
    path = root / "a.txt"
    path.write_bytes(content)
    new = NewDocument(
        *("default", "a.txt", Source.WATCH, "hash", len(content)),
        root=str(root),
        path="a.txt",
        mtime_ns=path.stat().st_mtime_ns,
    )
    return catalog.add_document(new).id, path


async def test_the_original_of_a_watched_file_is_the_file(
    http: httpx.AsyncClient, catalog: Catalog, settings: Settings
) -> None:
    document_id, path = await watched(catalog, settings)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    answer = await http.get(f"{DOCUMENTS}/{document_id}/original")
    assert (answer.content, answer.headers["content-length"]) == (b"Watched.", "8")
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    path.write_bytes(b"Another.")
    os.utime(path, ns=(1, 1))
    answer = await http.get(f"{DOCUMENTS}/{document_id}/original")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "original_missing")


async def test_a_link_in_place_of_a_watched_file_is_not_followed_out(
    http: httpx.AsyncClient, catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    document_id, path = await watched(catalog, settings)
    (tmp_path / "secret").write_bytes(b"Secrets.")
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    assert (await http.get(f"{DOCUMENTS}/{document_id}/original")).status_code == 404


async def test_a_completed_document_is_indexed_again(
    http: httpx.AsyncClient, catalog: Catalog, hints: FakeHints
) -> None:
    document_id = await post(http)
    hints.on_ingest = lambda _: None
    answer = (await http.post(f"{DOCUMENTS}/{document_id}/reindex")).json()
    assert answer["status"] == "queued" and answer["progress"]["searchable"] and answer["progress"]["stale"]
    document = catalog.get_document(document_id)
    assert (document.generation, document.active_generation) == (2, 1)
    again = await http.post(f"{DOCUMENTS}/{document_id}/reindex")
    assert (again.status_code, again.json()["error"]["param"]) == (400, "document_id")


async def test_a_collection_is_indexed_again(http: httpx.AsyncClient, hints: FakeHints) -> None:
    await http.post(DOCUMENTS, json={"texts": ["One.", "Two."], "collection": "manuals"})
    await post(http, "Three.")
    hints.on_ingest = lambda _: None
    answer = await http.post(f"{DOCUMENTS}/reindex", json={"collection": "manuals"})
    assert answer.json() == {"object": "documents.reindexed", "count": 2}
    assert (await http.post(f"{DOCUMENTS}/reindex", json={})).json()["count"] == 1
    assert (await http.post(f"{DOCUMENTS}/reindex", json={"collection": "none"})).status_code == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=report", {"Report 1.txt", "report_2.md"}),
        ("name=REPORT_", {"report_2.md"}),
        ("name=%25", set()),
        ("type=md", {"report_2.md"}),
        ("type=.TXT&type=md", {"Report 1.txt", "plan.txt", "report_2.md"}),
        ("type=application/", set()),
        ("status=failed&status=completed&name=plan", {"plan.txt"}),
        ("status=failed&status=queued", set()),
    ],
)
async def test_documents_are_listed_by_name_and_type(http: httpx.AsyncClient, query: str, names: set[str]) -> None:
    for name in ("Report 1.txt", "report_2.md", "plan.txt"):
        await post(http, f"Text of {name}", filename=name)
    found = (await http.get(f"{DOCUMENTS}?{query}")).json()["data"]
    assert {document["filename"] for document in found} == names


async def test_a_filter_that_is_too_long_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.get(DOCUMENTS, params={"name": "x" * 256})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")
