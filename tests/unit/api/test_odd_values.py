"""Any value in any field is answered with a success or a 4xx error object, never with a 5xx."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.asyncio

ODD: list[Any] = [
    None, True, 0, -1, 1.5, 2**31, 2**63, -(2**64), 10**400, 1e308, "", " ", "\x00", "\u202e", "x" * 5000, "null", "1",
    [], [None], [[]], [{}], {},
    {"": ""}, {"a": None}, {"type": None}, {"type": {}}, {"1": None}, [1, "a"], [[["deep"]]],
]  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "m",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hello"}], "name": "n"},
            {"role": "assistant", "content": "x", "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
            {"role": "tool", "content": "x", "tool_call_id": "1"},
        ],
        "n": 1, "stream": True, "stream_options": {"include_usage": True}, "stop": ["a"], "logit_bias": {"5": 1},
        "logprobs": True, "top_logprobs": 1, "temperature": 1, "top_p": 1, "seed": 1, "max_tokens": 5,
        "max_completion_tokens": 5, "presence_penalty": 1, "frequency_penalty": 1, "parallel_tool_calls": True,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}}, "functions": [], "function_call": "none",
        "response_format": {"type": "text"}, "modalities": ["text"],
        "audio": None, "rag": {"collection": "c", "collections": ["c"], "top_k": 1, "score_threshold": 0.5},
        "top_k": 1, "min_p": 0.1, "typical_p": 0.5, "repeat_penalty": 1.1, "ignore_eos": False, "user": "u",
    },
    "/v1/completions": {"prompt": "Hello", "echo": False, "suffix": None, "best_of": 1, "logprobs": None, "stop": "a"},
    "/v1/tokenize": {"prompt": "Hello", "add_special_tokens": True, "return_token_strs": True, "parse_special": None},
    "/v1/detokenize": {"tokens": [1, 2], "model": "m"},
    "/v1/embeddings": {"input": ["a", "b"], "model": "m", "encoding_format": "float", "dimensions": 3, "user": "u"},
    "/v1/rerank": {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": True, "model": "m"},
    "/v1/models/pull": {"model": "org/repo:Q4_K_M"},
    "/v1/rag/chat": {
        "query": "q", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5, "num_context_docs": 2,
        "collection": "c", "collections": ["c"], "score_threshold": 0.1, "temperature": 1, "stream": False, "seed": 1,
    },
    "/v1/rag/search": {"query": "q", "top_k": 2, "collection": "c", "collections": ["c"], "score_threshold": 0.1},
    "/v1/rag/evaluations": {
        "questions": [{"question": "q", "files": ["a"], "passages": ["b"]}],
        "settings": [{"name": "n", "top_k": 2, "neighbours": 1, "diversity": 0.1, "rerank": False}],
    },
    "/v1/rag/documents": {"texts": ["a"], "metadata": [{"filename": "a.txt", "n": 1}], "collection": "c"},
}  # fmt: skip


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a body."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from paths(inner, (*at, key))


def with_value(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    parent: Any = changed
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = value
    return changed


@pytest.mark.parametrize("path", BODIES)
async def test_odd_values_never_break_a_route(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.post(path, json=BODIES[path])).status_code < 300
    for path_in_body in paths(BODIES[path]):
        for value in ODD:
            answer = await http.post(path, json=with_value(BODIES[path], path_in_body, value))
            case = f"{path_in_body} = {str(value)[:40]!r}: {answer.text[:300]}"
            assert answer.status_code < 500, case
            if answer.status_code >= 300:
                error = answer.json()["error"]
                assert set(error) == {"message", "type", "param", "code"}, case
                assert str(error["param"] or path_in_body[0]).split(".")[0] in BODIES[path], case
