"""The built-in rules of files to ignore."""

from __future__ import annotations

import pytest

from watchers.builtin_ignores import is_ignored


@pytest.mark.parametrize(
    "path",
    [
        ".DS_Store",
        "._report.pdf",
        "Thumbs.db",
        "thumbs.DB",
        "desktop.ini",
        "~$letter.docx",
        "a.tmp",
        "a.TMP",
        "a.part",
        "a.crdownload",
        ".git/config",
        "deep/.git/hooks/x.md",
        ".stfolder/x",
        ".stversions/a.txt",
        "@eaDir/a.txt",
        "__MACOSX/a.txt",
        ".letter.txt.swp",
        "letter.txt~",
        ".~lock.letter.odt#",
    ],
)
def test_files_of_systems_editors_and_transfers_are_ignored(path: str) -> None:
    assert is_ignored(path)


@pytest.mark.parametrize("path", ["", "a.txt", "a/b.md", ".gitignore", "template", "part", "a.tmp.txt", "git/x", "a~b"])
def test_documents_are_not_ignored(path: str) -> None:
    assert not is_ignored(path)
