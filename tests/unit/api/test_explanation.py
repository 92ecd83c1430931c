"""A search says on request what its stages took, and how its hits rank by each score."""

from __future__ import annotations

import httpx
import pytest

pytestmark = pytest.mark.asyncio


async def test_a_search_explains_its_stages_and_the_ranks_of_its_hits_on_request(http: httpx.AsyncClient) -> None:
    plain = (await http.post("/v1/rag/search", json={"query": "a"})).json()
    assert "explanation" not in plain and "explanation" not in plain["data"][0]
    found = (await http.post("/v1/rag/search", json={"query": "a", "explain": True})).json()
    ranks = {"dense_rank": 1, "sparse_rank": None, "fused_rank": 2, "rank": 1, "dense_weight": None}
    assert found["data"][0]["explanation"] == ranks
    assert found["explanation"]["object"] == "search.explanation"
    assert found["explanation"]["stages"][0] == {"name": "fetch_candidates", "milliseconds": 1.5, "points": 2}
