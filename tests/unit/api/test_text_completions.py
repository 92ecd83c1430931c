"""Raw completions in the form of the older API, streamed and not."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from api.render import Answer, Choice, Head
from api.schemas.completions import MAX_TOKEN_IDS, CompletionRequest
from api.text_completions import LegacyLogprobs, text_completion
from core.messages import TokenLogprob
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import WORDS

PATH = "/v1/completions"


def entry(text: str, logprob: float | None = -1.0, *top: tuple[str, float]) -> TokenLogprob:
    raw = text.encode()
    return TokenLogprob(text, logprob, list(raw), [(name, value, list(name.encode())) for name, value in top])


def test_each_token_has_its_probability_its_alternatives_and_its_offset() -> None:
    found = LegacyLogprobs(2).next([entry("The", None), entry(" cat", -2.0, (" dog", -0.5), (" cow", -1.5))])
    assert found["tokens"] == ["The", " cat"] and found["text_offset"] == [0, 3]
    assert found["token_logprobs"] == [None, -2.0]
    assert found["top_logprobs"] == [None, {" dog": -0.5, " cow": -1.5, " cat": -2.0}]
    assert list(found["top_logprobs"][1]) == [" dog", " cow", " cat"], "the likeliest comes first"


def test_without_alternatives_there_is_no_top() -> None:
    assert LegacyLogprobs(0).next([entry("a")])["top_logprobs"] is None


def test_offsets_count_characters_over_pieces_and_half_characters_are_bytes() -> None:
    euro = "€".encode()
    halves = [TokenLogprob("\ufffd", -1.0, list(part)) for part in (euro[:1], euro[1:])]
    render = LegacyLogprobs(0)
    first, second = render.next([entry("ab"), halves[0]]), render.next([halves[1], entry("c")])
    assert first["tokens"] + second["tokens"] == ["ab", "bytes:\\xe2", "bytes:\\x82\\xac", "c"]
    assert first["text_offset"] + second["text_offset"] == [0, 2, 2, 3]


def test_an_answer_has_logprobs_only_if_they_were_requested() -> None:
    answer = Answer(choices=[Choice(0, "a", "stop", [entry("a")])])
    plain, with_logprobs = (text_completion(Head("job-1", 0), answer, top) for top in (None, 1))
    assert plain["choices"][0]["logprobs"] is None
    assert with_logprobs["choices"][0]["logprobs"]["tokens"] == ["a"]
    assert plain["id"] == "cmpl-1" and plain["object"] == "text_completion"


def chunks_of(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("extra", [{}, {"logprobs": 1}, {"echo": True, "logprobs": 0}, {"echo": True}])
async def test_a_stream_joins_to_the_answer(http: httpx.AsyncClient, extra: dict[str, Any]) -> None:
    body = {"prompt": ["one", "two"], "n": 2, **extra}
    whole = (await http.post(PATH, json=body)).json()
    streamed = await http.post(PATH, json=body | {"stream": True, "stream_options": {"include_usage": True}})
    *chunks, last = chunks_of(streamed)

    assert last["choices"] == [] and last["usage"] == whole["usage"]
    for index, choice in enumerate(whole["choices"]):
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert choice["text"] == "".join(one["text"] for one in own)
        assert [one["finish_reason"] for one in own] == [*[None] * (len(own) - 1), "stop"]
        if choice["logprobs"]:
            pieces = [one["logprobs"] for one in own if one["logprobs"]]
            for name, values in choice["logprobs"].items():
                assert values == (sum((piece[name] for piece in pieces), []) if values is not None else None)
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3]
    assert whole["choices"][2]["text"] == ("two" if extra.get("echo") else "") + "".join(WORDS)


async def test_a_job_that_runs_without_its_client_remembers_the_form_of_its_answer(
    http: httpx.AsyncClient, stream: FakeJobStream
) -> None:
    accepted = await http.post(PATH, json={"prompt": "a", "logprobs": 3}, headers={"prefer": "respond-async"})
    assert accepted.status_code == 202 and accepted.json()["endpoint"] == PATH
    assert stream.submitted[-1].kind == "completion" and stream.submitted[-1].durable


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("a", ["a"]), ([1, 2], [[1, 2]]), (["a", ""], ["a", ""]), ([[1], [2, 3]], [[1], [2, 3]])],
)
async def test_prompts_reach_the_worker_as_they_are(
    http: httpx.AsyncClient, stream: FakeJobStream, prompt: Any, prompts: Any
) -> None:
    assert (await http.post(PATH, json={"prompt": prompt, "max_tokens": 0, "suffix": ""})).status_code == 200
    request = stream.submitted[-1].request
    assert (request.prompts, request.max_tokens, request.suffix) == (prompts, 0, None)


@pytest.mark.parametrize("prompt", [[0] * (MAX_TOKEN_IDS + 1), [[0] * (MAX_TOKEN_IDS // 2)] * 3])
def test_more_token_ids_than_any_prompt_has_are_refused(prompt: Any) -> None:
    with pytest.raises(ValidationError, match="262144 token ids in all"):
        CompletionRequest.model_validate({"prompt": prompt})


async def test_a_completion_is_short_unless_more_is_requested(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    await http.post(PATH, json={"prompt": "a"})
    assert stream.submitted[-1].request.max_tokens == 16


@pytest.mark.parametrize(
    ("extra", "end"),
    [
        ({}, "answer"),
        ({"add_generation_prompt": True}, "answer"),
        ({"add_generation_prompt": False}, "nothing"),
        ({"continue_final_message": True}, "continued"),
        ({"continue_final_message": True, "add_generation_prompt": False}, "continued"),
    ],
)
async def test_how_a_prompt_ends_is_the_same_for_a_chat_and_for_its_tokens(
    http: httpx.AsyncClient, stream: FakeJobStream, extra: dict[str, Any], end: str
) -> None:
    messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "1, 2,"}]
    for path in ("/v1/chat/completions", "/v1/tokenize"):
        answer = await http.post(path, json={"messages": messages, **extra})
        assert answer.status_code == 200, answer.text
        assert stream.submitted[-1].request.prompt_end == end


async def test_tokens_and_their_text(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    found = (await http.post("/v1/tokenize", json={"prompt": "a", "parse_special": False})).json()
    assert found == {"count": 1, "max_model_len": 2048, "tokens": [7], "token_strs": None}
    assert not stream.submitted[-1].request.parse_special and stream.submitted[-1].request.add_special_tokens
    assert (await http.post("/v1/detokenize", json={"tokens": [7]})).json() == {"prompt": "a"}
