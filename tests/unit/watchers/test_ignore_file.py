"""`.llmignore`: a user's rules of files to ignore."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from random import Random

import pytest
from pathspec import GitIgnoreSpec

from core.watch_roots import WatchRoot
from tests.support import assert_linear
from watchers.folder import Folder
from watchers.ignore_file import MAX_IGNORE_FILE_BYTES, IgnoreRules
from watchers.ignore_patterns import LinearPattern


def rules(root: Path, **files: str) -> IgnoreRules:
    """Write files with rules, by folder: `_` is the root, and `a__b` is `a/b`. Return the rules."""
    for folder, text in files.items():
        path = root / folder.strip("_").replace("__", "/") / ".llmignore"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return IgnoreRules(str(root))


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("x.log", True),
        ("deep/er/x.log", True),
        ("keep.log", False),
        ("deep/keep.log", False),
        ("build/x.txt", True),
        ("src/build/keep.log", True),
        ("top.txt", True),
        ("sub/top.txt", False),
        ("docs/a/draft.md", True),
        ("a.txt", False),
    ],
)
def test_patterns_mean_what_they_mean_to_git(tmp_path: Path, path: str, ignored: bool) -> None:
    text = "# a comment\n*.log\n!keep.log\nbuild/\n/top.txt\ndocs/**/draft.md\n"
    assert rules(tmp_path, _=text).is_ignored(path) is ignored


def test_the_nearest_rules_win(tmp_path: Path) -> None:
    found = rules(tmp_path, _="*.md\nsecret/\n", sub="!*.md\n*.txt\n", secret="!*\n")
    assert found.is_ignored("a.md")
    assert not found.is_ignored("sub/a.md")
    assert found.is_ignored("sub/a.txt")
    assert not found.is_ignored("a.txt")
    assert found.is_ignored("secret/a.txt"), "no rule can include a file of an ignored folder again"


def test_an_invalid_pattern_is_logged_and_has_no_effect(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert rules(tmp_path, _="*.log\n!\n[z-a]\n").is_ignored("a.log")
    assert ".llmignore, line 2" in caplog.text
    assert ".llmignore, line 3" in caplog.text


def test_changed_rules_are_read_at_the_next_scan(tmp_path: Path) -> None:
    folder = Folder(WatchRoot(tmp_path, "default"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    assert {path for path, _ in folder.scan()} == {"sub/a.txt", "b.txt"}
    (tmp_path / ".llmignore").write_text("sub/\n")
    assert {path for path, _ in folder.scan()} == {"b.txt"}
    assert list(folder.scan("sub")) == []
    assert folder.stat("sub/a.txt") is None
    assert folder.is_ignored("sub/a.txt")
    assert not folder.is_ignored("b.txt")
    assert not folder.is_ignored("sub/none.txt")


def test_a_change_of_rules_is_a_change_of_their_folder(tmp_path: Path) -> None:
    folder = Folder(WatchRoot(tmp_path, "default"))
    assert folder.relative(f"{tmp_path}/.llmignore") == ""
    assert folder.relative(f"{tmp_path}/a/b/.llmignore") == "a/b"
    assert folder.relative(f"{tmp_path}/.git/.llmignore") is None


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_rules_that_are_not_a_regular_file_have_no_effect(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".llmignore"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "loop": lambda: path.symlink_to(path)}[kind]()
    assert not IgnoreRules(str(tmp_path)).is_ignored("a.txt")


def test_rules_outside_of_the_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "rules").write_text("*.txt\n")
    (tmp_path / "inbox" / ".llmignore").symlink_to(tmp_path / "rules")
    assert not IgnoreRules(str(tmp_path / "inbox")).is_ignored("a.txt")


def test_too_many_rules_are_an_error(tmp_path: Path) -> None:
    found = rules(tmp_path, _="x\n" * MAX_IGNORE_FILE_BYTES)
    with pytest.raises(OSError, match=f"more than {MAX_IGNORE_FILE_BYTES} bytes"):
        found.is_ignored("a.txt")


def test_patterns_match_as_those_of_the_library() -> None:
    random = Random(7)

    def name() -> str:
        parts = ["a", "b", "*", "*", "?", "[ab]", "[]a]", "\\*", "."]
        return "".join(random.choices(parts, k=random.randint(1, 5)))

    for _ in range(1000):
        names = [random.choice(["**", "*", name(), name()]) for _ in range(random.randint(1, 5))]
        pattern = random.choice(["", "/", "!"]) + "/".join(names) + random.choice(["", "/"])
        try:
            expected = GitIgnoreSpec.from_lines([pattern])
        except ValueError:
            continue
        found = GitIgnoreSpec.from_lines([pattern], LinearPattern)
        for _ in range(10):
            folders = ["".join(random.choices("aab.*", k=random.randint(1, 4))) for _ in range(random.randint(1, 6))]
            path = "/".join(folders) + random.choice(["", "/"])
            assert found.check_file(path).include == expected.check_file(path).include, (pattern, path)


@pytest.mark.parametrize(
    ("pattern", "unit"),
    [("*a*a*a*a*a*a*b", "a"), ("*?*?*?*?*?*b", "a"), ("**/a/**/a/**/a/**/a/**/b", "a/"), ("**/a*a/**/*a*a*b", "aa/")],
)
def test_a_hostile_pattern_takes_time_in_proportion_to_the_path(pattern: str, unit: str) -> None:
    spec = GitIgnoreSpec.from_lines([pattern], LinearPattern)
    assert_linear(lambda path: spec.match_file(path), unit, 2000)
