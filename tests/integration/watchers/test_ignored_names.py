"""Files and folders that are ignored for their names, and changes that neither size nor time shows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.catalog import NewDocument, Source, tables
from tests.integration.watchers.world import World
from tests.support import wait_until
from watchers.folder import Folder

TEMPORARY = (
    ".letter.txt.Ab3XyZ",
    "#letter.txt#",
    ".goutputstream-X1",
    ".nfs0001",
    ".fuse_hidden01",
    "letter.txt.filepart",
    "letter.txt.!qB",
    "letter.txt.aria2",
    "letter.txt.swx",
    "letter.txt.sb-1a2b3c4d-XyZabc",
    "letter.txt.lock",
    "letter.txt.bak",
)


@pytest.mark.parametrize("mode", ["mirror", "consume"])
def test_a_temporary_name_becomes_a_document_only_under_its_final_name(
    make_world: Callable[..., World], tmp_path: Path, mode: str
) -> None:
    world = make_world(watch_dirs=(f"{tmp_path / 'inbox'}=default:{mode}",))
    world.start()
    for number, name in enumerate(TEMPORARY):
        (world.inbox / str(number)).mkdir()
        (world.inbox / str(number) / name).write_text(f"half of {number}")
    (world.inbox / "other.txt").write_text("it is stable later than they are")
    wait_until(lambda: [one.filename for one in world.catalog.list_documents().items] == ["other.txt"])
    for number, name in enumerate(TEMPORARY):
        path = world.inbox / str(number) / name
        path.write_text(f"all of {number}")
        path.rename(path.with_name("letter.txt"))
    wait_until(lambda: len(world.catalog.list_documents(limit=100).items) == len(TEMPORARY) + 1)
    wait_until(lambda: world.info["waiting"] == 0)
    found = world.catalog.list_documents(limit=100).items
    assert {one.path for one in found} == {"other.txt", *(f"{number}/letter.txt" for number in range(len(TEMPORARY)))}
    assert {one.generation for one in found} == {1}


@pytest.mark.parametrize("trash", ["#recycle", ".Trash-1000/files", "$RECYCLE.BIN", "@Recycle", ".trash", "lost+found"])
def test_a_move_into_a_trash_folder_deletes(world: World, trash: str) -> None:
    (world.inbox / trash).mkdir(parents=True)
    (world.inbox / "tree").mkdir()
    for path in ("a.txt", "tree/b.txt", "c.txt"):
        (world.inbox / path).write_text(path)
    world.start()
    world.settle_on("a.txt", "tree/b.txt", "c.txt")
    (world.inbox / "a.txt").rename(world.inbox / trash / "a.txt")
    (world.inbox / "tree").rename(world.inbox / trash / "tree")
    world.settle_on("c.txt")
    (world.inbox / trash / "a.txt").rename(world.inbox / "a.txt")
    world.settle_on("a.txt", "c.txt")


def test_ignored_folders_are_reported_and_a_setting_takes_them(make_world: Callable[..., World]) -> None:
    world = make_world(watch_ignore=("!.obsidian", "!.*", "*.log"))
    for path in (".env", ".obsidian/a.txt", "node_modules/b.txt", "c.log", "x.bak"):
        (world.inbox / path).parent.mkdir(parents=True, exist_ok=True)
        (world.inbox / path).write_text(path)
    world.start()
    world.settle_on(".env", ".obsidian/a.txt")
    wait_until(lambda: len(world.catalog.list_skipped("default").items) == 3)
    assert {(one.path, one.reason) for one in world.catalog.list_skipped("default").items} == {
        ("node_modules/", "built-in rule: node_modules"),
        ("x.bak", "built-in rule: *.bak"),
        ("c.log", "WATCH_IGNORE: *.log"),
    }


def test_documents_whose_names_became_ignored_are_deleted_and_hold_nothing(world: World) -> None:
    for number in range(8):
        path = world.inbox / ".hidden" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
        root, name = str(world.inbox), f".hidden/{number}.txt"
        world.catalog.add_document(
            NewDocument("default", path.name, Source.WATCH, "a" * 64, 1, root=root, path=name, mtime_ns=1, inode=1)
        )
    world.start()
    world.settle_on()
    assert [folder["state"] for folder in world.info["folders"]] == ["watched"]


def test_a_file_overwritten_with_its_size_and_time_is_found_by_the_next_scan(world: World) -> None:
    world.start()
    path = world.inbox / "a.txt"
    path.write_text("the warranty lasts 2 years")
    first = world.settle_on("a.txt")["a.txt"]
    status = path.stat()
    world.stop()
    with path.open("r+") as file:
        file.write("the warranty lasts 3 years")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    world.start()
    found = world.settle(lambda documents: documents["a.txt"].generation == 2)["a.txt"]
    assert (found.id, found.size_bytes, found.mtime_ns) == (first.id, first.size_bytes, first.mtime_ns)


def test_a_file_replaced_by_a_copy_with_its_time_is_found(world: World, tmp_path: Path) -> None:
    world.start()
    path, other = world.inbox / "a.txt", tmp_path / "other.txt"
    path.write_text("one")
    other.write_text("two")
    shutil.copystat(path, other)
    world.settle_on("a.txt")
    shutil.copy2(other, path)
    world.settle(lambda documents: documents["a.txt"].generation == 2)


def test_files_that_an_older_release_has_seen_are_not_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start()
    (world.inbox / "a.txt").write_text("one")
    first = world.settle_on("a.txt")["a.txt"]
    world.stop()
    with world.catalog._write() as connection:
        connection.execute(sa.update(tables.documents).values(ctime_ns=None))
    hashed: list[str] = []
    monkeypatch.setattr(Folder, "hash", lambda _folder, path, *_: hashed.append(path))
    world.start()
    assert world.settle(lambda documents: documents["a.txt"].ctime_ns is not None)["a.txt"] == first
    assert not hashed


def test_a_change_of_the_permissions_alone_is_no_new_version(world: World) -> None:
    world.start()
    path = world.inbox / "a.txt"
    path.write_text("one")
    first = world.settle_on("a.txt")["a.txt"]
    path.chmod(0o640)
    found = world.settle(lambda documents: documents["a.txt"].ctime_ns != first.ctime_ns)["a.txt"]
    assert (found.id, found.generation) == (first.id, 1)
    assert world.messenger.ingested == [first.id]
