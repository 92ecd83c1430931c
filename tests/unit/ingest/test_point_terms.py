"""The terms of a point come from its text, its header, and the names of its file and folders."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.vector_store.point_terms import point_terms, terms_after_rename
from ingest.vector_store.sparse import query_terms


def holds(query: str, **payload: Any) -> bool:
    wanted = set(query_terms(query).indices)
    return bool(wanted) and wanted <= set(point_terms({"filename": "x.txt", "text": "the text", **payload}).indices)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("offer 889", "offer_889.pdf"),
        ("offer 889", "offer889.pdf"),
        ("Osprey status", "Projects/Osprey/status.md"),
        ("Jane Doe", "People/Jane Doe.md"),
        ("fuse box", "FuseBox.md"),
        ("PDF import", "PDFImport.md"),
        ("größe", "Größe_der_Räume.txt"),
        ("release 1.2", "release 1.2"),
        ("meeting 2024", "2024-03-05 meeting.txt"),
    ],
)
def test_the_words_of_file_and_folders_are_terms(query: str, path: str) -> None:
    assert holds(query, path=path, filename=path.rpartition("/")[2])


def test_the_suffix_of_a_file_is_no_term() -> None:
    assert not holds("pdf", filename="offer.pdf", path="offer.pdf")


def test_a_path_without_the_name_of_the_file_adds_folders_alone() -> None:
    assert holds("shelf offer", filename="offer.pdf", path="shelf/a")


def test_header_and_text_are_terms() -> None:
    assert holds("BX-300 text", header="Model BX-300")


def test_terms_change_only_with_the_names() -> None:
    stored = {"filename": "a.txt", "path": "one/a.txt", "text": "the text", "header": "Head"}
    assert terms_after_rename(stored, {"filename": "a.txt", "path": "one/a.txt", "attributes": {"year": 1}}) is None
    moved = terms_after_rename(stored, {"filename": "b.txt", "path": "two/b.txt"})
    assert moved == point_terms({**stored, "filename": "b.txt", "path": "two/b.txt"})


def test_points_of_older_releases_have_no_header() -> None:
    assert point_terms({"filename": "a.txt", "text": "word"}) == point_terms(
        {"filename": "a.txt", "path": None, "header": "", "text": "word"}
    )
