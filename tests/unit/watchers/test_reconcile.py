"""The comparison of a folder with the catalog."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.watch_roots import WatchMode
from watchers.reconcile import (
    Changed,
    FileStat,
    Moved,
    Row,
    compare,
    is_below,
    is_mass_deletion,
    is_restored,
    pair_by_hash,
    pair_by_stat,
    topmost,
)


def stat(number: int) -> FileStat:
    return FileStat(number, number, number)


def row(path: str, number: int, content_hash: str = "h", collection: str = "default") -> Row:
    return Row(f"doc-{path}", path, content_hash, collection, stat(number))


def test_each_path_is_unchanged_new_changed_or_gone() -> None:
    files = {"same": stat(1), "new": stat(2), "changed": stat(3)}
    rows = [row("same", 1), row("changed", 4), row("gone", 5)]
    difference = compare(files, rows, "default")
    assert difference.appeared == {"new": stat(2)}
    assert difference.changed == [Changed(rows[1], stat(3))]
    assert difference.vanished == [rows[2]]
    assert set(difference.paths) == {"new", "changed", "gone"}


def test_another_ctime_is_a_change_and_one_that_is_not_known_is_learned() -> None:
    known = row("a", 1)._replace(stat=FileStat(1, 1, 1, 7))
    unknown = row("b", 2)
    ignored = row("c", 3)._replace(is_ignored=True)
    files = {"a": FileStat(1, 1, 1, 8), "b": FileStat(2, 2, 2, 9), "c": FileStat(3, 3, 3, 5)}
    difference = compare(files, [known, unknown, ignored], "default")
    assert difference.changed == [Changed(known, files["a"])]
    assert difference.unknown_ctimes == {"doc-b": 9, "doc-c": 5}
    assert difference.still_ignored == [ignored]


def test_a_renamed_file_is_the_same_whatever_its_ctime() -> None:
    gone = row("a", 1)._replace(stat=FileStat(1, 1, 1, 7))
    found = FileStat(1, 1, 1, 8)
    assert pair_by_stat({"b": found}, [gone]) == [Moved(gone, "b", found)]
    assert compare({"b": found}, [gone], "default").lost == []


def test_a_document_of_another_collection_is_changed() -> None:
    document = row("a", 1, collection="old")
    assert compare({"a": stat(1)}, [document], "new").changed == [Changed(document, stat(1))]


def test_a_moved_file_is_recognised_by_its_inode_size_and_time() -> None:
    gone = [row("a", 1), row("b", 2)]
    assert pair_by_stat({"c": stat(2), "d": stat(3)}, gone) == [Moved(gone[1], "c", stat(2))]


def test_a_copied_file_is_recognised_by_its_content_and_preferably_its_name() -> None:
    gone = [row("x/a.txt", 1, "h"), row("x/b.txt", 2, "h")]
    appeared = {"y/b.txt": stat(8), "y/c.txt": stat(9), "y/d.txt": stat(10)}
    hashes = {"y/b.txt": "h", "y/c.txt": "h", "y/d.txt": "other"}
    assert pair_by_hash(appeared, hashes, gone) == [
        Moved(gone[1], "y/b.txt", stat(8)),
        Moved(gone[0], "y/c.txt", stat(9)),
    ]


def test_the_loss_of_most_documents_is_a_mass_deletion() -> None:
    assert not is_mass_deletion(0, 0)
    assert not is_mass_deletion(10, 5)
    assert is_mass_deletion(10, 6)
    assert not is_mass_deletion(4, 4)
    assert is_mass_deletion(5, 5)
    assert is_mass_deletion(1, 1, floor=1)


def test_a_folder_is_restored_when_nearly_all_files_are_back() -> None:
    assert is_restored(10, 1)
    assert is_restored(1, 0)
    assert not is_restored(10, 2)
    assert not is_restored(1, 1)


@pytest.mark.parametrize(
    ("mode", "blob_key", "vanishes", "changes"),
    [
        (WatchMode.MIRROR, None, True, False),
        (WatchMode.MIRROR, "blob", True, False),
        (WatchMode.ADDITIVE, None, False, True),
        (WatchMode.ADDITIVE, "blob", False, False),
        (WatchMode.CONSUME, None, True, True),
        (WatchMode.CONSUME, "blob", False, True),
    ],
)
def test_the_mode_decides_about_missing_and_unchanged_files(
    mode: WatchMode, blob_key: str | None, vanishes: bool, changes: bool
) -> None:
    stat = FileStat(1, 1, 1)
    row = Row("id", "a", "hash", "default", stat, blob_key)
    assert bool(compare({}, [row], "default", mode).vanished) is vanishes
    assert bool(compare({"a": stat}, [row], "default", mode).changed) is changes


def test_folders_inside_others_are_not_topmost() -> None:
    assert topmost(["a/b", "a", "ab", "a/b/c", "c/d"]) == ["a", "ab", "c/d"]
    assert topmost(["a", "", "b"]) == [""]
    assert topmost(["a b/c", "a", "a/x"]) == ["a", "a b/c"]


PATHS = st.text("ab/ ", min_size=1, max_size=5).map(lambda text: "/".join(filter(None, text.split("/"))) or "a")


@given(st.sets(PATHS, max_size=8), PATHS)
def test_topmost_folders_cover_exactly_the_given_ones(prefixes: set[str], path: str) -> None:
    found = topmost(prefixes)
    assert any(is_below(path, prefix) for prefix in prefixes) == any(is_below(path, prefix) for prefix in found)
    assert not any(is_below(one, other) for one in found for other in found if one != other)


NUMBERED = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 4))


@given(files=NUMBERED, rows=NUMBERED)
def test_applying_the_difference_makes_the_catalog_match(files: dict[str, int], rows: dict[str, int]) -> None:
    folder = {path: stat(number) for path, number in files.items()}
    catalog = {path: row(path, number) for path, number in rows.items()}
    difference = compare(folder, catalog.values(), "default")
    result = {path: document.stat for path, document in catalog.items()}
    for moved in pair_by_stat(difference.appeared, difference.vanished):
        assert result.pop(moved.row.path) == moved.stat
        result[moved.path] = moved.stat
    for path, found in difference.appeared.items():
        result.setdefault(path, found)
    for changed in difference.changed:
        result[changed.row.path] = changed.stat
    for gone in difference.vanished:
        result.pop(gone.path, None)
    assert result == folder


@given(appeared=st.dictionaries(st.sampled_from("abc"), st.sampled_from("hij")), gone=st.lists(st.sampled_from("hij")))
def test_no_document_and_no_path_is_paired_twice(appeared: dict[str, str], gone: list[str]) -> None:
    rows = [
        Row(f"doc-{number}", f"gone-{number}", content, "default", stat(number)) for number, content in enumerate(gone)
    ]
    moves = pair_by_hash({path: stat(9) for path in appeared}, appeared, rows)
    assert len({move.path for move in moves}) == len({move.row.document_id for move in moves}) == len(moves)
    assert all(move.row.content_hash == appeared[move.path] for move in moves)
    for content in "hij":
        expected = min(gone.count(content), list(appeared.values()).count(content))
        assert sum(move.row.content_hash == content for move in moves) == expected
