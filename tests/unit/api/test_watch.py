"""Watched folders over HTTP: their state, and the confirmation of held deletions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from core.catalog import UNREADABLE, Catalog, FolderState, NewDocument, Source, WatchedFolder
from tasks.jobs.queues import Role
from tests.fakes.job_stream import FakeJobStream

pytestmark = pytest.mark.asyncio


def save(catalog: Catalog, root: str, state: FolderState, missing: int = 0) -> None:
    folder = WatchedFolder(root, "papers", "mirror", state, "1:2", 10, missing, confirmed=False, changed_at=0)
    catalog.save_watched_folder(folder)


def states(answer: httpx.Response) -> dict[str, tuple[str, bool]]:
    data: list[dict[str, Any]] = answer.json()["data"]
    return {folder["path"]: (folder["state"], folder["confirmed"]) for folder in data}


async def test_folders_are_listed_with_their_state(
    http: httpx.AsyncClient, catalog: Catalog, stream: FakeJobStream
) -> None:
    stream.live[Role.WATCHER]["watcher@host"] = {"folders": [{"path": "/a"}, {"path": "/b"}]}
    save(catalog, "/a", FolderState.WATCHED)
    save(catalog, "/b", FolderState.HELD, missing=6)
    save(catalog, "/c", FolderState.WATCHED)
    answer = await http.get("/v1/watch")
    assert states(answer) == {"/a": ("watched", False), "/b": ("held", False), "/c": ("stopped", False)}
    assert (answer.json()["data"][1]["documents"], answer.json()["data"][1]["missing"]) == (10, 6)


async def test_what_the_watcher_cannot_read_is_counted(http: httpx.AsyncClient, catalog: Catalog) -> None:
    save(catalog, "/a", FolderState.WATCHED)
    catalog.save_skipped("/a", {f"{UNREADABLE} by the watcher's user, 10001: Permission denied": 3, "*.bak": 9}, [])
    assert [folder["unreadable"] for folder in (await http.get("/v1/watch")).json()["data"]] == [3]


async def test_one_folder_or_all_held_folders_can_be_confirmed(http: httpx.AsyncClient, catalog: Catalog) -> None:
    for root in ("/a", "/b", "/c"):
        save(catalog, root, FolderState.HELD, missing=6)
    save(catalog, "/d", FolderState.WATCHED)
    one = await http.post("/v1/watch/confirm", json={"path": "/b/"})
    assert states(one) == {"/b": ("held", True)}
    found = {folder.root: folder.confirmed for folder in catalog.watched_folders()}
    assert found == {"/a": False, "/b": True, "/c": False, "/d": False}
    rest = await http.post("/v1/watch/confirm", json={})
    assert states(rest) == {"/a": ("held", True), "/b": ("held", True), "/c": ("held", True)}


async def test_a_watched_url_is_listed_and_confirmed_by_its_name(http: httpx.AsyncClient, catalog: Catalog) -> None:
    url = "https://example.org/sitemap.xml"
    save(catalog, url, FolderState.HELD, missing=6)
    assert states(await http.get("/v1/watch")) == {url: ("held", False)}
    assert states(await http.post("/v1/watch/confirm", json={"path": url})) == {url: ("held", True)}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"path": "/nobody/watches/this"}, 404),
        ({"path": "/d"}, 400),
        ({}, 400),
        ({"path": ""}, 400),
        ({"path": "/a\0b"}, 400),
        ({"path": 7}, 400),
    ],
)
async def test_a_confirmation_without_held_deletions_is_refused(
    http: httpx.AsyncClient, catalog: Catalog, body: dict[str, Any], status: int
) -> None:
    save(catalog, "/d", FolderState.WATCHED)
    answer = await http.post("/v1/watch/confirm", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


async def test_a_deleted_watched_document_is_ignored_from_then_on(
    http: httpx.AsyncClient, catalog: Catalog, tmp_path: Path
) -> None:
    new = NewDocument("default", "a.txt", Source.WATCH, "0" * 64, 1, root=str(tmp_path), path="a.txt")
    document = catalog.add_document(new)
    assert (await http.delete(f"/v1/rag/documents/{document.id}")).status_code == 200
    assert [found.document_id for found in catalog.ignored_files(str(tmp_path))] == [document.id]
