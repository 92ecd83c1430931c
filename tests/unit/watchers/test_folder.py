"""The files of a folder that are mirrored."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from core.settings import WatchRoot
from watchers.folder import Folder, Stopped
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
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    # Permissions are faked, because root, who may run the tests, can read everything.
    monkeypatch.setattr("watchers.folder.os.scandir", refusing)
    monkeypatch.setattr("watchers.folder.os.access", lambda path, mode: not str(path).endswith("private.txt"))
    skips = SkipReport("inbox")
    assert {path for path, _ in folder(root).scan(skips=skips)} == {"a.txt", "private.txt"}
    reason = "it cannot be read: Permission denied"
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


def test_a_file_is_hashed_until_stopped(root: Path) -> None:
    (root / "a.bin").write_bytes(b"x" * 3_000_000)
    stop = threading.Event()
    assert folder(root).hash("a.bin", stop) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    stop.set()
    with pytest.raises(Stopped):
        folder(root).hash("a.bin", stop)
