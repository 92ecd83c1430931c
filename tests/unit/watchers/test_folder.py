"""The files of a folder that are mirrored."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from core.safe_open import opened_folder
from core.watch_roots import WatchRoot
from watchers.folder import Folder, Stopped
from watchers.reconcile import FileStat
from watchers.skip_report import SkipReport


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "inbox"
    root.mkdir()
    return root


def folder(root: Path, *excluded: Path) -> Folder:
    return Folder(WatchRoot(root, "default"), excluded)


def paths(found: Folder, prefix: str = "") -> list[str]:
    return sorted(path for path, _ in found.scan(prefix))


def test_a_scan_sees_regular_files_at_any_depth(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "c.txt").write_text("c")
    (root / "d.txt").write_text("d")
    os.mkfifo(root / "pipe")
    found = folder(root)
    assert paths(found) == ["a/b/c.txt", "d.txt"]
    assert paths(found, "a") == ["a/b/c.txt"]
    assert paths(found, "none") == paths(found, "d.txt") == []
    assert dict(found.scan()) == {path: found.stat(path) for path in paths(found)}


def test_unreadable_files_are_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "secret").mkdir()
    for name in ("a.txt", "private.txt"):
        (root / name).write_text(name)

    def refusing(root: str, relative: str = "") -> AbstractContextManager[int]:
        if relative == "secret":
            raise PermissionError(13, "Permission denied")
        return opened_folder(root, relative)

    # Permissions are faked, because root, who may run the tests, can read everything.
    monkeypatch.setattr("watchers.folder.opened_folder", refusing)
    monkeypatch.setattr("watchers.folder.os.access", lambda name, mode, dir_fd: name != "private.txt")
    skips = SkipReport("inbox")
    assert {path for path, _ in folder(root).scan(skips=skips)} == {"a.txt", "private.txt"}
    reason = f"it cannot be read by the watcher's user, {os.geteuid()}: Permission denied"
    assert {(one.path, one.reason) for one in skips.files} == {("secret/", reason), ("private.txt", reason)}
    assert skips.counts == {reason: 2}


def test_links_out_of_the_folder_are_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (root / "real").mkdir()
    (root / "real" / "a.txt").write_text("a")
    (root / "out.txt").symlink_to(outside / "secret.txt")
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "real")
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to(root / "none")
    (root / "in.txt").symlink_to(root / "real" / "a.txt")
    found = folder(root)
    assert paths(found) == ["in.txt", "real/a.txt"]
    for path in ("out.txt", "out/secret.txt", "in/a.txt", "loop/in.txt", "dangling", "none"):
        assert found.stat(path) is None


def test_a_root_that_is_a_link_is_followed(root: Path, tmp_path: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "a.txt").write_text("a")
    (tmp_path / "link").symlink_to(root)
    found = folder(tmp_path / "link")
    assert paths(found) == ["sub/a.txt"]
    assert found.stat("sub/a.txt") is not None


def test_excluded_folders_are_not_scanned(root: Path) -> None:
    for path in ("a.txt", "data/x.txt", "database/y.txt"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(path)
    found = folder(root, root, root / "data", root.parent / "elsewhere")
    assert paths(found) == ["a.txt", "database/y.txt"]
    assert found.relative(f"{root}/data/x.txt") is None
    assert found.relative(f"{root}/database/y.txt") == "database/y.txt"


def test_paths_are_relative_to_the_folder(root: Path) -> None:
    found = folder(root)
    assert found.relative(str(root)) == ""
    assert found.relative(f"{root}/a/b.txt") == "a/b.txt"
    assert found.relative(f"{root}/.git/b.txt") is None
    assert found.relative(f"{root}2/b.txt") is None
    assert found.absolute("") == str(root)


def test_another_folder_at_the_same_path_has_another_identity(root: Path) -> None:
    found = folder(root)
    first = found.identity()
    root.rename(root.parent / "elsewhere")
    assert found.identity() is None
    root.mkdir()
    assert found.identity() not in (None, first)
    root.rmdir()
    root.write_text("a file")
    assert found.identity() is None


def seen(found: Folder, path: str) -> FileStat:
    stat = found.stat(path)
    assert stat is not None
    return stat


def test_a_file_is_hashed_until_stopped(root: Path) -> None:
    (root / "a.bin").write_bytes(b"x" * 3_000_000)
    found, stop = folder(root), threading.Event()
    stat = seen(found, "a.bin")
    assert found.hash("a.bin", stat, stop) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    stop.set()
    with pytest.raises(Stopped):
        found.hash("a.bin", stat, stop)


def put_link(root: Path, outside: Path) -> None:
    (root / "sub" / "a.txt").unlink()
    (root / "sub" / "a.txt").symlink_to(outside / "a.txt")


def put_linked_folder(root: Path, outside: Path) -> None:
    (root / "sub").rename(root / "moved")
    (root / "sub").symlink_to(outside)


def put_pipe(root: Path, _outside: Path) -> None:
    (root / "sub" / "a.txt").unlink()
    os.mkfifo(root / "sub" / "a.txt")


def put_other_file(root: Path, outside: Path) -> None:
    (outside / "a.txt").rename(root / "sub" / "a.txt")


@pytest.mark.parametrize("put", [put_link, put_linked_folder, put_pipe, put_other_file])
def test_what_is_put_in_place_of_a_file_is_neither_read_nor_removed(
    root: Path, tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    for path in (root / "sub", outside):
        path.mkdir()
        (path / "a.txt").write_text(f"in {path.name}")
    found = folder(root)
    stat = seen(found, "sub/a.txt")
    put(root, outside)
    before = sorted(tmp_path.rglob("*"))
    taken: list[bytes] = []
    with pytest.raises(FileNotFoundError):
        found.read("sub/a.txt", stat, taken.append, threading.Event())
    with suppress(OSError):
        found.remove("sub/a.txt", stat)
    assert taken == []
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_a_file_of_the_folder_is_read_and_removed(root: Path) -> None:
    (root / "a.txt").write_text("text")
    (root / "link.txt").symlink_to("a.txt")
    found = folder(root)
    stat, taken = seen(found, "link.txt"), list[bytes]()
    found.read("link.txt", stat, taken.append, threading.Event())
    assert taken == [b"text"]
    assert found.remove("link.txt", stat)
    assert paths(found) == ["a.txt"]


def test_a_link_does_not_lead_into_an_excluded_folder(root: Path) -> None:
    (root / "data").mkdir()
    (root / "data" / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(root / "data" / "secret.txt")
    assert paths(folder(root, root / "data")) == []


def test_a_subfolder_is_scanned_only_if_it_is_not_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    (root / "sub").symlink_to(tmp_path / "outside")
    assert paths(folder(root), "sub") == []
