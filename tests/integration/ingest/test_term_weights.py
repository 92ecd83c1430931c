"""The weights of terms in stores that several collections share."""

from __future__ import annotations

import pytest

from ingest.vector_store import VectorStore
from ingest.vector_store.sparse import query_terms
from ingest.vector_store.term_weights import weight_of
from tests.integration.ingest.conftest import make_point


def test_terms_weigh_what_they_do_in_the_collections_searched(store: VectorStore) -> None:
    small = [make_point(f"invoice of customer {n}", f"s{n}", collection="small") for n in range(9)]
    large = [make_point(f"report {n} about harbours", f"l{n}", collection="large") for n in range(40)]
    store.upsert([*small, make_point("harbour invoice", "rare", collection="small"), *large])
    invoice, harbour = (query_terms(word).indices[0] for word in ("invoice", "harbour"))
    everywhere = store.term_weights([invoice, harbour])
    in_small = store.term_weights([invoice, harbour], ["small"])
    assert everywhere.weights[invoice] > everywhere.weights[harbour] and not everywhere.factors
    assert in_small.weights[harbour] > in_small.weights[invoice], "nearly all of the small collection are invoices"
    alone = {term: weight_of(count, 10) for term, count in ((invoice, 10), (harbour, 1))}
    assert in_small.weights == pytest.approx(alone)
    hits = store.search(None, "harbour", 1, ["small"])
    assert hits[0].sparse_score is not None and hits[0].score == pytest.approx(
        hits[0].sparse_score / (2.2 * alone[harbour]), rel=1e-4
    ), "BM25 is computed with these weights"
    assert store.point_count() >= 50
