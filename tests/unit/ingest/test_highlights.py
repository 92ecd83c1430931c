"""The sentences of a hit that answer best."""

from __future__ import annotations

from ingest.retrieval.highlights import LONGEST_SENTENCE, highlights
from ingest.vector_store.sparse import query_terms


def weights_of(query: str) -> dict[int, float]:
    return dict.fromkeys(query_terms(query).indices, 1.0)


def found(text: str, *queries: str) -> list[str]:
    best = highlights(text, [weights_of(query) for query in queries])
    assert all(text[one.start : one.end] == one.text for one in best)
    return [one.text for one in best]


def test_the_sentence_with_most_terms_of_the_query_comes_first() -> None:
    text = "The pump is loud.\nIf the pump leaks, replace its seal. Seals are sold in pairs. Keep the pump dry."
    assert found(text, "Which seal when the pump leaks?") == ["If the pump leaks, replace its seal."]


def test_a_row_of_a_table_is_a_sentence() -> None:
    assert found("name: Ada, room: 12\nname: Ben, room: 14", "the room of Ben") == ["name: Ben, room: 14"]
    record = "name: Dr. Ben Moss; room: 14"
    assert found(f"name: Dr. Ada Fox; room: 12\n{record}", "the room of Ben Moss") == [record]


def test_each_query_may_have_its_own_sentence() -> None:
    text = "The fuse has 10 A. The warranty is 24 months. It is blue."
    assert set(found(text, "which fuse", "which warranty")) == {"The fuse has 10 A.", "The warranty is 24 months."}


def test_a_text_without_terms_of_the_query_has_none() -> None:
    assert found("Bananas are yellow.", "router reset") == []
    assert highlights("Bananas are yellow.", []) == []


def test_long_sentences_are_cut_between_words() -> None:
    (best,) = highlights("word " * 300 + "router", [weights_of("router")])
    assert best.text.endswith("router") and len(best.text) <= LONGEST_SENTENCE and not best.text.startswith("ord")
