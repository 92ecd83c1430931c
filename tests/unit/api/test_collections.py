"""Collections over HTTP: their settings, names, deletion and coverage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from core.catalog import (
    Catalog,
    DocumentState,
    FolderState,
    NewDocument,
    SkippedFile,
    Source,
    StoreRecord,
    WatchedFolder,
)
from core.settings import Settings
from tasks.jobs.queues import Role
from tests.fakes.job_stream import FakeHints, FakeJobStream

pytestmark = pytest.mark.asyncio

COLLECTIONS = "/v1/rag/collections"
DOCUMENTS = "/v1/rag/documents"


async def add(http: httpx.AsyncClient, text: str, collection: str) -> dict[str, Any]:
    answer = await http.post(DOCUMENTS, json={"texts": [text], "collection": collection}, headers={"prefer": "wait=0"})
    document: dict[str, Any] = answer.json()["data"][0]
    return document


async def test_a_collection_is_created_returned_and_listed(http: httpx.AsyncClient) -> None:
    made = await http.post(COLLECTIONS, json={"name": "contracts/2024", "chunk_tokens": 100})
    await add(http, "One.", "notes")
    listed = (await http.get(COLLECTIONS)).json()
    by_id = (await http.get(f"{COLLECTIONS}/{made.json()['id']}")).json()

    assert made.status_code == 201, made.text
    assert (made.json()["chunk_tokens"], made.json()["chunk_overlap_tokens"]) == (100, None)
    assert [one["name"] for one in listed["data"]] == ["contracts/2024", "notes"]
    assert by_id["name"] == "contracts/2024" and by_id["coverage"]["documents"] == 0
    assert listed["data"][1]["coverage"]["indexed"] == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": " a"}, "name"),
        ({"name": " "}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "a/./b"}, "name"),
        ({"name": "a//b"}, "name"),
        ({"name": "a", "chunk_tokens": 15}, "chunk_tokens"),
        ({"name": "a", "chunk_tokens": "100"}, "chunk_tokens"),
        ({"name": "a", "chunk_tokens": 300}, "chunk_tokens"),
        ({"name": "a", "chunk_tokens": 100, "chunk_overlap_tokens": 51}, "chunk_overlap_tokens"),
        ({"name": "a", "chunk_overlap_tokens": 128}, "chunk_overlap_tokens"),
        ({"name": "taken"}, "name"),
    ],
)
async def test_invalid_settings_are_refused(
    http: httpx.AsyncClient, stream: FakeJobStream, body: dict[str, Any], param: str
) -> None:
    stream.live[Role.INDEX]["index@host"]["windows"] = {"": 254}
    await http.post(COLLECTIONS, json={"name": "taken"})
    answer = await http.post(COLLECTIONS, json=body)

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert len((await http.get(COLLECTIONS)).json()["data"]) == 1


async def test_after_new_chunk_settings_documents_are_indexed_again_and_stay_searchable(
    http: httpx.AsyncClient, catalog: Catalog, hints: FakeHints
) -> None:
    document = await add(http, "One.", "c")
    await add(http, "Elsewhere.", "d")
    hints.on_ingest = lambda _: None
    changed = (await http.patch(f"{COLLECTIONS}/c", json={"chunk_tokens": 64})).json()
    again = (await http.patch(f"{COLLECTIONS}/c", json={"chunk_tokens": 64})).json()
    row = catalog.get_document(document["id"])

    assert (changed["reindexing"], again["reindexing"]) == (1, 0)
    assert (row.state, row.generation, row.active_generation, row.chunk_tokens) == (DocumentState.QUEUED, 2, 1, 64)
    assert again["coverage"] | {"chunks": 0, "size_bytes": 0} == {
        "object": "collection.coverage",
        "collection": "c",
        "documents": 1,
        "indexed": 0,
        "stale": 1,
        "pending": 1,
        "skipped": {},
        "failed": {},
        "chunks": 0,
        "size_bytes": 0,
    }
    back = (await http.patch(f"{COLLECTIONS}/c", json={"chunk_tokens": None})).json()
    assert (back["chunk_tokens"], back["reindexing"]) == (None, 1)


async def test_the_weight_of_the_cosine_is_set_without_indexing_again(http: httpx.AsyncClient) -> None:
    made = await http.post(COLLECTIONS, json={"name": "c", "dense_weight": 0.3})
    assert made.json()["dense_weight"] == 0.3
    await add(http, "One.", "c")
    changed = (await http.patch(f"{COLLECTIONS}/c", json={"dense_weight": 0})).json()
    assert (changed["dense_weight"], changed["reindexing"]) == (0, 0)
    assert (await http.patch(f"{COLLECTIONS}/c", json={"dense_weight": None})).json()["dense_weight"] is None
    refused = await http.patch(f"{COLLECTIONS}/c", json={"dense_weight": 1.1})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "dense_weight"


async def test_a_collection_can_choose_only_models_that_the_settings_name(
    http: httpx.AsyncClient, catalog: Catalog, stream: FakeJobStream, hints: FakeHints
) -> None:
    stream.live[Role.INDEX]["index@host"]["windows"] = {"": 254, "org/other": 62}
    await add(http, "One.", "c")
    here, there = StoreRecord("s1", "all-MiniLM-L6-v2", 384), StoreRecord("s2", "org/other", 768)
    catalog.place_collection(catalog.get_collection("c").id, here)
    refused = await http.patch(f"{COLLECTIONS}/c", json={"embedding_model": "org/unknown"})
    too_long = await http.patch(f"{COLLECTIONS}/c", json={"embedding_model": "org/other", "chunk_tokens": 64})
    assert refused.status_code == too_long.status_code == 400
    assert refused.json()["error"]["param"] == "embedding_model" and "org/other" in refused.json()["error"]["message"]
    assert too_long.json()["error"]["param"] == "chunk_tokens" and "62 tokens" in too_long.json()["error"]["message"]
    assert catalog.get_collection("c").model_choice is None and hints.woken == 0

    chosen = (await http.patch(f"{COLLECTIONS}/c", json={"embedding_model": "org/other"})).json()
    assert (chosen["embedding_model"], chosen["next_embedding_model"]) == ("all-MiniLM-L6-v2", None)
    assert (chosen["reindexing"], hints.woken) == (1, 1)
    assert catalog.get_collection("c").model_choice == "org/other"
    catalog.begin_move(catalog.get_collection("c").id, there)
    moving = (await http.get(f"{COLLECTIONS}/c")).json()
    assert (moving["embedding_model"], moving["next_embedding_model"]) == ("all-MiniLM-L6-v2", "org/other")
    back = (await http.patch(f"{COLLECTIONS}/c", json={"embedding_model": None})).json()
    assert catalog.get_collection("c").model_choice is None and back["name"] == "c"
    made = await http.post(COLLECTIONS, json={"name": "d", "embedding_model": "org/other"})
    assert made.status_code == 201 and catalog.get_collection("d").model_choice == "org/other"


async def test_a_collection_can_be_addressed_by_a_name_with_slashes(http: httpx.AsyncClient) -> None:
    await add(http, "One.", "contracts/2024")
    for path in ("contracts%2F2024", "contracts/2024"):
        assert (await http.get(f"{COLLECTIONS}/{path}")).json()["name"] == "contracts/2024"
        assert (await http.get(f"{COLLECTIONS}/{path}/coverage")).json()["indexed"] == 1
        assert (await http.get(f"{COLLECTIONS}/{path}/skipped")).json()["data"] == []
        assert (await http.patch(f"{COLLECTIONS}/{path}", json={"chunk_tokens": 64})).status_code == 200
    assert (await http.delete(f"{COLLECTIONS}/contracts%2F2024")).json()["deleted"]
    assert (await http.get(f"{COLLECTIONS}/contracts%2F2024")).json()["error"]["param"] == "collection"


async def test_other_settings_can_change_although_the_chosen_model_is_no_longer_offered(
    http: httpx.AsyncClient, catalog: Catalog
) -> None:
    catalog.create_collection("c", model_choice="org/of-before")
    renamed = await http.patch(f"{COLLECTIONS}/c", json={"name": "d", "chunk_tokens": 64})
    assert renamed.status_code == 200, renamed.text
    assert catalog.get_collection("d").model_choice == "org/of-before"


async def test_renaming_keeps_documents_and_points(http: httpx.AsyncClient, catalog: Catalog) -> None:
    document = await add(http, "One.", "old")
    await add(http, "Two.", "other")
    key = catalog.get_collection("old").point_key
    renamed = (await http.patch(f"{COLLECTIONS}/old", json={"name": "new"})).json()
    taken = await http.patch(f"{COLLECTIONS}/new", json={"name": "other"})

    assert (renamed["name"], renamed["reindexing"]) == ("new", 0)
    assert taken.status_code == 400 and taken.json()["error"]["param"] == "name"
    row = catalog.get_document(document["id"])
    assert (row.collection, row.collection_key, row.state) == ("new", key, DocumentState.COMPLETED)
    assert (await http.get(f"{COLLECTIONS}/old")).status_code == 404


async def test_deleting_a_collection_deletes_its_documents_and_frees_its_name(
    http: httpx.AsyncClient, catalog: Catalog, hints: FakeHints
) -> None:
    document = await add(http, "One.", "c")
    deleted = (await http.delete(f"{COLLECTIONS}/c")).json()

    assert deleted["deleted"] and deleted["documents"] == 1 and hints.woken == 1
    assert catalog.active_generations([document["id"]]) == {}
    assert (await http.get(f"{COLLECTIONS}/c")).status_code == 404
    assert (await http.get(COLLECTIONS)).json()["data"] == []
    again = await add(http, "One.", "c")
    assert again["id"] != document["id"] and list(catalog.active_generations([again["id"]])) == [again["id"]]
    assert catalog.purge_collections() == 0
    claim = catalog.claim(document["id"], "w", expected=DocumentState.DELETING, claimed=DocumentState.DELETING)
    assert claim is not None and catalog.finish_delete(claim)
    catalog.purge_deleted([document["id"]])
    assert catalog.purge_collections() == 1


async def test_changes_that_a_watched_folder_would_undo_are_refused(
    http: httpx.AsyncClient, catalog: Catalog, settings: Settings
) -> None:
    root = str(Path(settings.watch_roots[0].path))
    new = NewDocument("default", "a.txt", Source.WATCH, "a" * 64, 1, root=root, path="a.txt", mtime_ns=1, inode=1)
    catalog.add_document(new)
    deleted = await http.delete(f"{COLLECTIONS}/default")
    renamed = await http.patch(f"{COLLECTIONS}/default", json={"name": "x"})

    for answer in (deleted, renamed):
        assert answer.status_code == 400 and "WATCH_DIRS" in answer.json()["error"]["message"]
    assert len(catalog.list_documents().items) == 1


async def test_coverage_counts_skipped_and_failed_documents_by_reason(
    http: httpx.AsyncClient, catalog: Catalog, hints: FakeHints
) -> None:
    hints.on_ingest = lambda _: None
    reasons = [("The PDF is broken.", "invalid_file"), ("The file is empty.", "empty_file"), ("No.", "invalid_file")]
    for number, (reason, code) in enumerate(reasons):
        document = await add(http, f"Text {number}.", "c")
        claim = catalog.claim(document["id"], "w", expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)
        assert claim is not None and catalog.fail(claim, reason, code)
    coverage = (await http.get(f"{COLLECTIONS}/c/coverage")).json()

    assert coverage["skipped"] == {"The file is empty.": 1}
    assert coverage["failed"] == {"The PDF is broken.": 1, "No.": 1}
    assert (await http.get(f"{COLLECTIONS}/none/coverage")).status_code == 404


async def test_ignored_files_are_counted_and_listed(http: httpx.AsyncClient, catalog: Catalog) -> None:
    await add(http, "One.", "c")
    catalog.save_watched_folder(WatchedFolder("/in", "c", "mirror", FolderState.WATCHED, "1:1", 1, 0, False, 0))
    files = [SkippedFile("/in", f"{number}.bak", ".llmignore: *.bak") for number in range(3)]
    catalog.save_skipped("/in", {".llmignore: *.bak": 2000}, files)
    coverage = (await http.get(f"{COLLECTIONS}/c/coverage")).json()
    first = (await http.get(f"{COLLECTIONS}/c/skipped?limit=2")).json()
    rest = (await http.get(f"{COLLECTIONS}/c/skipped?after={first['last_id']}")).json()
    wrong = await http.get(f"{COLLECTIONS}/c/skipped?after=skip-none")

    assert coverage["skipped"] == {".llmignore: *.bak": 2000} and coverage["documents"] == 1
    assert [one["path"] for one in first["data"] + rest["data"]] == ["0.bak", "1.bak", "2.bak"]
    assert first["has_more"] and not rest["has_more"]
    assert first["data"][0]["folder"] == "/in" and first["data"][0]["reason"] == ".llmignore: *.bak"
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "after"
    assert (await http.get(f"{COLLECTIONS}/none/skipped")).status_code == 404
