"""Contract tests of the filters of all vector stores."""

from __future__ import annotations

from typing import Any

import pytest

from core.messages import Filter
from ingest.vector_store import VectorStore
from ingest.vector_store.base import MAX_NUMBER_INDEXES, DocumentMeta
from tests.fakes.fake_embedder import FakeEmbedder
from tests.integration.ingest.conftest import make_point, where

SHELVES: dict[str, dict[str, Any]] = {
    "a": {
        "attributes": {"shelf": "toys", "year": 2019, "sold": True},
        "filename": "a.pdf",
        "type": ["application/pdf"],
    },
    "b": {"attributes": {"shelf": "tools", "year": 2021.5, "page.count": 7}, "filename": "b.md", "path": "x/b.md"},
    "c": {"attributes": {"shelf": "3", "year": "2021", "sold": False, "path": "p"}, "filename": "c.md"},
    "d": {"filename": "d.md"},
    "e": {"attributes": {"tags": ["red", 7, True], "date": "2024-03-05"}, "filename": "e.md"},
    "f": {"attributes": {"tags": ["red"], "date": ["2023-12-31T23:30:00-01:00", "2024-06"]}, "filename": "f.md"},
    "g": {"attributes": {"date": 2024, "tags": []}, "filename": "g.md"},
}


@pytest.mark.parametrize(
    ("filters", "documents"),
    [
        (where("eq", "shelf", "toys"), "a"),
        (where("ne", "shelf", "toys"), "bcdefg"),
        (where("eq", "shelf", 3), ""),
        (where("eq", "year", 2019.0), "a"),
        (where("eq", "sold", True), "a"),
        (where("eq", "sold", 1), ""),
        (where("gt", "year", 2019), "b"),
        (where("gte", "year", 2019), "ab"),
        (where("lt", "year", 2021.5), "a"),
        (where("lte", "attributes.year", 2021.5), "ab"),
        (where("lt", "page.count", 8), "b"),
        (where("in", "shelf", ["toys", "tools", "x"]), "ab"),
        (where("nin", "shelf", ["toys", "tools"]), "cdefg"),
        (where("eq", "tags", "red"), "ef"),
        (where("in", "tags", [7, "blue"]), "e"),
        (where("ne", "tags", True), "abcdfg"),
        (where("gt", "tags", 6), "e"),
        (where("gte", "date", "2024-01-01"), "ef"),
        (where("lt", "date", "2024-01-01"), ""),
        (where("lt", "date", "2024-01-01T00:30:01Z"), "f"),
        (where("lte", "date", "2024-03-05"), "ef"),
        (where("gt", "date", "2024-03-05"), "f"),
        (where("gt", "date", "2024-06"), ""),
        (where("lte", "date", "2024-02"), "f"),
        (where("gte", "date", 2000), "g"),
        (where("eq", "date", "2024-03-05"), "e"),
        (where("eq", "filename", "b.md"), "b"),
        (where("eq", "path", "x/b.md"), "b"),
        (where("eq", "attributes.path", "p"), "c"),
        (where("in", "document_id", ["a", "d"]), "ad"),
        (where("eq", "type", "application/pdf"), "a"),
        (where("and", "", "", where("gte", "year", 2000), where("ne", "shelf", "toys")), "b"),
        (where("or", "", "", where("eq", "shelf", "3"), where("eq", "sold", True)), "ac"),
        (where("and", "", "", where("or", "", "", where("eq", "shelf", "3")), where("eq", "sold", False)), "c"),
    ],
    ids=lambda value: f"{value.type}-{value.key}" if isinstance(value, Filter) else value,
)
def test_a_filter_leaves_the_documents_that_it_holds_for(shelves: VectorStore, filters: Filter, documents: str) -> None:
    vector = FakeEmbedder().vector("router")
    for dense, text in ((vector, "router"), (vector, ""), (None, "router")):
        hits = shelves.search(dense, text, 10, ["default"], filters)
        assert sorted(hit.payload["document_id"] for hit in hits) == list(documents)


@pytest.fixture
def shelves(store: VectorStore) -> VectorStore:
    store.upsert([make_point("router", name, **payload) for name, payload in SHELVES.items()])
    store.upsert([make_point("router", "elsewhere", collection="other", **SHELVES["a"])])
    return store


def test_whole_numbers_are_distinguished_however_long(store: VectorStore) -> None:
    numbers = [2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
    store.upsert([make_point("router", str(at), attributes={"n": number}) for at, number in enumerate(numbers)])
    for at, number in enumerate(numbers):
        hits = store.search(None, "router", 5, (), where("eq", "n", number))
        assert [(hit.payload["document_id"], hit.payload["attributes"]["n"]) for hit in hits] == [(str(at), number)]
    assert len(store.search(None, "router", 5, (), where("eq", "n", float(2**53)))) == 1


@pytest.mark.parametrize("key", ["a\\b", "\\", 'a"b', "a.b", "a[0]", "a b", "ключ", "a\nb"])
def test_a_number_may_have_any_name(store: VectorStore, key: str) -> None:
    store.upsert([make_point("router", "a", attributes={key: 3}), make_point("router", "b", attributes={key: 4})])
    hits = store.search(None, "router", 5, (), where("eq", key, 3))
    assert [hit.payload["document_id"] for hit in hits] == ["a"]


def test_only_some_numbers_are_indexed_and_the_others_are_compared_too(store: VectorStore) -> None:
    keys = [f"key{number:03}" for number in range(MAX_NUMBER_INDEXES + 8)]
    store.upsert([make_point("router", "a", attributes={key: 3 for key in keys[:8]})])
    store.upsert([make_point("router", "b", attributes={key: 5 for key in keys})])
    indexed = [path for path in store._indexed if path.startswith("attributes.")]  # type: ignore[attr-defined]
    assert len(indexed) == MAX_NUMBER_INDEXES
    for key in (keys[0], keys[-1]):
        hits = store.search(None, "router", 5, (), where("gt", key, 4))
        assert [hit.payload["document_id"] for hit in hits] == ["b"]


def test_dates_follow_a_change_of_the_attributes(store: VectorStore) -> None:
    store.upsert([make_point("router", "a", attributes={"due": "2024-01-01"})])
    later = where("gte", "due", "2024-02-01")
    for attributes, found in (({"due": "2024-03-01"}, 1), ({}, 0)):
        store.update_documents([DocumentMeta("a", 1, "default", "a.txt", attributes=attributes)])
        assert len(store.search(None, "router", 5, (), later)) == found


def test_filters_read_attributes_that_were_set_later(store: VectorStore) -> None:
    store.upsert([make_point("router", "a"), make_point("router", "b", attributes={"floor": 1})])
    store.update_documents([DocumentMeta("b", 1, "default", "a.txt", attributes={"floor": 2, "room": "x"})])
    for filters in (where("eq", "floor", 2), where("gt", "floor", 1), where("eq", "room", "x")):
        assert [hit.payload["document_id"] for hit in store.search(None, "router", 5, (), filters)] == ["b"]
    assert not store.search(None, "router", 5, (), where("eq", "floor", 1))
