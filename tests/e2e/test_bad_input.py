"""Invalid requests to the whole stack: each is answered with a clear 400, and the engine continues."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.support import Stack

pytestmark = [pytest.mark.e2e]

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "Hello"}]


def schema(value: object) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": value}}}


BAD: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"max_tokens": -1}, "max_tokens"),
    (CHAT, {"max_tokens": 0}, "max_tokens"),
    (CHAT, {"max_tokens": 10**30}, "max_tokens"),
    (CHAT, {"max_completion_tokens": -1}, "max_completion_tokens"),
    (CHAT, {"n": 0}, "n"),
    (CHAT, {"n": 9}, "n"),
    (CHAT, {"n": 10**6}, "n"),
    (CHAT, {"logit_bias": {"999999": 1}}, "logit_bias"),
    (CHAT, {"logit_bias": {"-1": 1}}, "logit_bias"),
    (CHAT, {"logit_bias": {"5": 101}}, "logit_bias"),
    (CHAT, {"stop": ["x"] * 17}, "stop"),
    (CHAT, {"stop": ["x" * 300]}, "stop"),
    (CHAT, {"stop": [""]}, "stop"),
    (CHAT, schema({"type": "integer", "minimum": 5, "maximum": 2}), "response_format"),
    (CHAT, schema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}), "response_format"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": [{"role": "user", "content": " "}]}, "messages"),
    (COMPLETIONS, {"prompt": ""}, "prompt"),
    (COMPLETIONS, {"prompt": "word " * 20_000}, "prompt"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "fields", "param"), BAD)
def test_an_invalid_field_is_named(
    http: httpx.Client, path: str, fields: dict[str, Any], param: str, stream: bool
) -> None:
    basis: dict[str, Any] = {"prompt": "Hello"} if path == COMPLETIONS else {"messages": HELLO}
    answer = http.post(path, json={**basis, "stream": stream, **fields})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"].split(".")[0] == param and error["message"]


def test_half_a_surrogate_pair_is_answered(http: httpx.Client) -> None:
    body = b'{"messages": [{"role": "user", "content": "half \\ud83d a character"}], "max_tokens": 4}'
    answer = http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text


def arrivals(stack: Stack) -> Iterator[float]:
    """Yield the time at which each frame of a stream arrives."""
    request = {"messages": HELLO, "max_tokens": 100, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{stack.base_url}{CHAT}", json=request, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                yield time.monotonic()


@pytest.mark.check
@pytest.mark.parametrize("letters", [" ", "<|im_end|>"])
def test_ten_megabytes_are_refused_while_a_stream_continues(stack: Stack, http: httpx.Client, letters: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": letters * (10_000_000 // len(letters)) + "x"}]})
    with ThreadPoolExecutor(1) as pool:
        stream = arrivals(stack)
        next(stream), next(stream)
        rest = pool.submit(list, stream)
        answer = http.post(CHAT, content=body, headers={"content-type": "application/json"})
        times = rest.result()
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    # That little of the text is tokenised is tested in tests/unit/inference/test_engine.py.
    assert max(after - before for before, after in pairwise(times)) < 3


def test_the_server_still_answers_after_all_invalid_requests(http: httpx.Client) -> None:
    answer = http.post(CHAT, json={"messages": HELLO, "max_tokens": 8, "n": 8})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["choices"]) == 8
    metrics = http.get("/metrics").text
    crashes = [line for line in metrics.splitlines() if line.startswith("llm_api_engine_crashes_total")]
    assert [float(line.rpartition(" ")[2]) for line in crashes] == [0.0]
