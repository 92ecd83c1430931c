"""What the catalog says of its changes: each write names the documents, jobs, collections and models it has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from core.catalog import (
    ANY,
    Catalog,
    Changes,
    DocumentState,
    FolderState,
    JobState,
    NewDocument,
    ParseEnd,
    Refused,
    Source,
    WatchedFolder,
)
from core.catalog.tables import documents

QUEUED, PARSING = {"expected": DocumentState.QUEUED, "claimed": DocumentState.PARSING}, DocumentState.PARSED
INDEX = {"expected": DocumentState.PARSED, "claimed": DocumentState.INDEXING}


class World:
    """A catalog, and the changes that it has reported since `taken` was called last."""

    def __init__(self, path: Path) -> None:
        self._changes: list[Changes] = []
        self.catalog = Catalog.open(f"sqlite:///{path}", self._changes.append)
        self.catalog.migrate()
        self._changes.clear()

    def taken(self, topic: str) -> set[str]:
        found = set().union(*(changes.get(topic, set()) for changes in self._changes))
        self._changes.clear()
        return found

    def rows(self) -> dict[str, tuple[Any, ...]]:
        with self.catalog._read() as connection:
            return {row.id: tuple(row) for row in connection.execute(sa.select(documents))}

    def add(self, name: str, **more: Any) -> str:
        new = NewDocument("notes", name, Source.UPLOAD, name * 8, 1, blob_key=None, path=name, **more)
        return self.catalog.add_document(new).id


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "catalog.sqlite3")
    yield world
    world.catalog.close()


def test_the_whole_life_of_documents_is_reported(world: World) -> None:
    catalog, before = world.catalog, world.rows()
    ids: list[str] = []

    def watched(name: str) -> NewDocument:
        return NewDocument("notes", name, Source.WATCH, name * 8, 1, root="/inbox", path=name, mtime_ns=1)

    def parse(*numbers: int) -> list[Any]:
        return catalog.claim_all([ids[one] for one in numbers], "w", **QUEUED)  # type: ignore[arg-type]

    steps: list[Any] = [
        lambda: ids.append(world.add("a")),
        lambda: ids.extend(catalog.add_files([watched("b"), watched("c")])),
        lambda: catalog.add_document(NewDocument("notes", "b", Source.WATCH, "new", 2, root="/inbox", path="b")),
        lambda: catalog.replace_document(NewDocument("notes", "a", Source.UPLOAD, "other", 1, path="a")),
        lambda: catalog.touch_source(ids[1], size_bytes=3, mtime_ns=2, inode=1),
        lambda: catalog.move_document(ids[1], path="d", filename="d", mtime_ns=2, inode=1),
        lambda: catalog.advance(parse(0)[0], PARSING),
        lambda: catalog.end_parsing([_refused(one) for one in parse(1, 2)]),
        lambda: catalog.retry_failed(),
        lambda: [catalog.renew(one, progress=(1, 1)) for one in catalog.claim_next("w", **INDEX, limit=9)],  # type: ignore[arg-type]
        lambda: catalog.reclaim("w", **INDEX),  # type: ignore[arg-type]
        lambda: [catalog.activate(one, 1) for one in catalog.claim_next("w", **INDEX, limit=9)],  # type: ignore[arg-type]
        lambda: catalog.cancel_unsettled("notes"),
        lambda: catalog.retry_document(ids[1]),
        lambda: catalog.update_collection("notes", {"chunk_tokens": 100}),
        lambda: catalog.delete_document(ids[0]),
        lambda: catalog.delete_documents(ids[1:2]),
        lambda: catalog.delete_collection("notes"),
        lambda: catalog.finish_deletes(
            catalog.claim_next("w", expected=DocumentState.DELETING, claimed=DocumentState.DELETING, limit=9)
        ),
    ]
    for number, step in enumerate(steps):
        step()
        after, reported = world.rows(), world.taken("documents")
        changed = {key for key in after if after[key] != before.get(key)}
        assert changed and changed <= reported, number
        assert ANY not in reported and reported <= set(after), number
        before = after


def _refused(claim: Any) -> ParseEnd:
    return Refused(claim, "It is damaged.")


def test_jobs_collections_and_models_are_reported(world: World) -> None:
    catalog = world.catalog
    catalog.create_job("job-1", "chat", "/", "{}")
    assert world.taken("jobs") == {"job-1"}
    catalog.set_job_running("job-1", 1)
    assert world.taken("jobs") == {"job-1"}
    catalog.finish_job("job-1", JobState.COMPLETED, result="{}")
    assert world.taken("jobs") == {"job-1"}
    made = catalog.create_collection("notes")
    assert world.taken("collections") == {made.id}
    catalog.update_collection("notes", {"name": "others"})
    assert world.taken("collections") == {made.id}
    catalog.want_model("a-model")
    assert world.taken("models")


def test_what_is_read_refused_or_rolled_back_is_not_reported(world: World) -> None:
    document_id = world.add("a")
    world.taken("documents")
    world.catalog.get_document(document_id)
    with pytest.raises(RuntimeError), world.catalog._write() as connection:
        connection.execute(sa.update(documents).where(documents.c.id == document_id).values(error="x"))
        raise RuntimeError
    assert not world.taken("documents")


def test_a_change_of_unknown_documents_says_so(world: World) -> None:
    with world.catalog._write() as connection:
        connection.execute(sa.update(documents).values(error="x"))
    assert world.taken("documents") == {ANY}


def test_a_watched_folder_that_is_saved_is_reported_without_its_path(world: World) -> None:
    folder = WatchedFolder("/in box", "notes", "mirror", FolderState.MISSING, None, 5, 5, False, 0)
    world.catalog.save_watched_folder(folder)
    assert world.taken("folders") == {ANY}
    world.catalog.confirm_watched_folder("/in box")
    assert world.taken("folders") == {ANY}
