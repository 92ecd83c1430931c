"""The names of files and folders that are ignored."""

from __future__ import annotations

import pytest

from core.errors import ConfigurationError
from core.settings import load_settings
from watchers.builtin_ignores import IgnoredNames

SYSTEMS = [".DS_Store", "._report.pdf", "Thumbs.db", "thumbs.DB", "desktop.ini", "__MACOSX/a.txt", "@eaDir/a.txt"]
TRASH = [
    "#recycle/a.txt",
    ".Trash-1000/files/a.txt",
    "$RECYCLE.BIN/S-1-5/a.txt",
    "@Recycle/a.txt",
    ".trash/a.txt",
    "lost+found/#12",
    "System Volume Information/a.txt",
]
PROGRAMS = [
    ".git/config",
    "deep/.git/hooks/x.md",
    ".obsidian/app.json",
    "a/node_modules/b/README.md",
    ".venv/a.txt",
    ".svn/a",
    ".hg/a",
    "__pycache__/a.txt",
    ".idea/a.xml",
    ".cache/a.txt",
    ".ipynb_checkpoints/a.ipynb",
    ".snapshot/daily/a.txt",
    "@tmp/a.txt",
    ".sync/a.txt",
    ".stfolder/x",
    ".stversions/a.txt",
    ".env",
    ".ssh/config",
]
TEMPORARY = [
    "~$letter.docx",
    "a.tmp",
    "a.TMP",
    "a.part",
    "a.crdownload",
    ".letter.txt.swp",
    "letter.txt~",
    ".~lock.letter.odt#",
    ".x.txt.Ab3XyZ",
    "#x#",
    ".goutputstream-A1B2C3",
    ".nfs000000000012",
    ".fuse_hidden0001",
    "x.filepart",
    "x.!qB",
    "x.aria2",
    "x.swx",
    "x.sb-1a2b3c4d-XyZabc",
    "x.lock",
    "x.bak",
]


@pytest.mark.parametrize("path", [*SYSTEMS, *TRASH, *PROGRAMS, *TEMPORARY])
def test_files_of_systems_programs_trash_and_transfers_are_ignored(path: str) -> None:
    names = IgnoredNames()
    assert names.is_ignored(path)
    assert [names.rule_for_name(name) for name in path.split("/") if names.is_ignored_name(name)][0]


@pytest.mark.parametrize(
    "path",
    ["", "a.txt", "a/b.md", "template", "part", "a.tmp.txt", "git/x", "a~b", "CVs/a.pdf", "1.bakery", "#1.txt"],
)
def test_documents_are_not_ignored(path: str) -> None:
    assert not IgnoredNames().is_ignored(path)
    assert path == "" or IgnoredNames().rule_for_name(path.split("/")[0]) is None


def test_the_rule_names_its_pattern_and_where_it_is_from() -> None:
    names = IgnoredNames(["*.log"])
    assert names.rule_for_name(".git") == "built-in rule: .git"
    assert names.rule_for_name(".env") == "built-in rule: .*"
    assert names.rule_for_name("A.LOG") == "WATCH_IGNORE: *.log"


def test_an_entry_removes_a_built_in_pattern_or_excepts_names() -> None:
    names = IgnoredNames(["!.*", "!*.BAK", "!team.lock"])
    assert not any(map(names.is_ignored_name, [".env", ".github", "x.bak", "team.lock"]))
    assert all(map(names.is_ignored_name, [".git", ".DS_Store", "yarn.lock", ".letter.txt.swp"]))


@pytest.mark.parametrize("value", ["a/b", "!", "*.log,!x/y"])
def test_a_pattern_with_folders_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"WATCH_IGNORE.*is not the pattern of a name"):
        load_settings(_env_file=None, watch_ignore=value)
