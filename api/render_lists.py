"""Renders the stored results of searches, embeddings and reranking as the answers of their endpoints."""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Callable

from api.render import Answer, Head, Wire, hit_wire

#: What is said of a hit.
_RANKS = ("dense_rank", "sparse_rank", "fused_rank", "rank", "dense_weight")


def search_results(head: Head, answer: Answer) -> Wire:
    """Return the answer of `/v1/rag/search`."""
    wire: Wire = {
        "id": head.id("search"),
        "object": "list",
        "data": [hit_wire(hit) for hit in answer.hits],
        "has_more": False,
        "timings": answer.timings,
    }
    return wire if answer.result is None else _explained(wire, answer.result)


def _explained(wire: Wire, explanation: Wire) -> Wire:
    """Return search results with what the worker says of each hit, and of the stages."""
    found = {(one["document_id"], one["chunk_index"]): one for one in explanation["hits"]}
    for hit in wire["data"]:
        ranks = found.get((hit["document_id"], hit["chunk_index"]), {})
        hit["explanation"] = {name: ranks.get(name) for name in _RANKS}
    whole = {"object": "search.explanation", "stages": explanation["stages"], "scopes": explanation["scopes"]}
    return wire | {"explanation": whole}


def embedding_list(answer: Answer, encoding_format: str) -> Wire:
    """Return the answer of `/v1/embeddings`. The worker's vectors are base64 of little-endian float32 already."""
    encode: Callable[[str], str | list[float]] = str if encoding_format == "base64" else _floats
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(answer.result["embeddings"])
        ],
        "model": answer.model,
        "usage": {"prompt_tokens": answer.usage.prompt_tokens, "total_tokens": answer.usage.prompt_tokens},
    }


def rerank_results(head: Head, answer: Answer) -> Wire:
    """Return the answer of `/v1/rerank`."""
    return {
        "id": head.id("rerank"),
        "model": answer.model,
        "usage": {"total_tokens": answer.usage.prompt_tokens},
        "results": answer.result["results"],
    }


def _floats(vector: str) -> list[float]:
    values = array.array("f", base64.b64decode(vector))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()
