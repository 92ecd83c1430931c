"""What a model thinks: in `reasoning_content`, never in the content, in streams, answers, jobs and histories alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from core import events
from core.messages import ChatMessage, Usage
from tasks.jobs.queues import Role
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import MODEL
from tests.unit.api.test_errors import CHAT, MESSAGES, error_of

RAG_CHAT = "/v1/rag/chat"
DONE = {"completion_tokens_details": {"reasoning_tokens": 4}}

pytestmark = pytest.mark.asyncio


def play_reasoning(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    if kind == "rag_chat":
        yield events.Retrieved(**at, hits=[])
    yield events.Accepted(**at, model=MODEL, prompt_tokens=12)
    for index in range(request.n):
        yield events.ReasoningDelta(**at, index=index, text="Let me ", token_ids=[1, 2])
        yield events.ReasoningDelta(**at, index=index, text="see.", token_ids=[3])
        yield events.TextDelta(**at, index=index, text="Yes.", token_ids=[5])
        yield events.ChoiceFinished(**at, index=index, finish_reason="stop")
    yield events.Finished(**at, model=MODEL, usage=Usage(12, 6, reasoning_tokens=4))


@pytest.fixture(autouse=True)
def _reasons(stream: FakeJobStream) -> None:
    stream.scripts["chat"] = stream.scripts["rag_chat"] = play_reasoning


async def test_the_message_has_the_reasoning_beside_the_content(http: httpx.AsyncClient) -> None:
    client = openai.AsyncOpenAI(
        api_key="unused", base_url="http://localhost/v1", http_client=http, _strict_response_validation=True
    )
    answer = await client.chat.completions.create(model="any", messages=MESSAGES, n=2)  # type: ignore[arg-type]
    for choice in answer.choices:
        assert choice.message.content == "Yes." and choice.message.model_extra == {"reasoning_content": "Let me see."}
    assert answer.usage is not None and answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 4


async def chunks(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await http.post(path, json=body | {"stream": True, "stream_options": {"include_usage": True}})
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize(("path", "body"), [(CHAT, {"messages": MESSAGES}), (RAG_CHAT, {"query": "Is it?"})])
async def test_a_stream_has_the_reasoning_in_deltas_of_its_own(
    http: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    found = await chunks(http, path, body)
    deltas = [choice["delta"] for chunk in found for choice in chunk["choices"]]
    assert deltas == [
        {"role": "assistant"},
        {"reasoning_content": "Let me "},
        {"reasoning_content": "see."},
        {"content": "Yes."},
        {},
    ]
    assert found[-1]["usage"].items() >= DONE.items()


async def test_a_rag_answer_has_the_reasoning_beside_the_answer(http: httpx.AsyncClient) -> None:
    answer = (await http.post(RAG_CHAT, json={"query": "Is it?"})).json()
    assert (answer["answer"], answer["reasoning_content"]) == ("Yes.", "Let me see.")
    assert answer["usage"].items() >= DONE.items()


@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        ({"reasoning_content": "Hm."}, "Hm."),
        ({"reasoning": "Hm."}, "Hm."),
        ({"reasoning_content": "", "reasoning": "Hm."}, "Hm."),
        ({"reasoning_content": None, "reasoning": {"summary": []}}, None),
        ({"reasoning_content": ["Hm."], "reasoning": 1}, None),
        ({}, None),
    ],
)
async def test_a_history_may_carry_the_reasoning(
    http: httpx.AsyncClient, stream: FakeJobStream, message: dict[str, Any], reasoning: str | None
) -> None:
    answered = {"role": "assistant", "content": "Yes.", **message}
    asked = {"role": "user", "content": "Why?", "reasoning_content": "not an answer"}
    assert (await http.post(CHAT, json={"messages": [*MESSAGES, answered, asked]})).status_code == 200
    earlier = stream.submitted[-1].request.messages
    assert earlier[-2:] == [ChatMessage("assistant", "Yes.", reasoning=reasoning), ChatMessage("user", "Why?")]


@pytest.mark.parametrize(("path", "body"), [(CHAT, {"messages": MESSAGES}), (RAG_CHAT, {"query": "Is it?"})])
async def test_what_says_how_much_to_think_reaches_the_worker(
    http: httpx.AsyncClient, stream: FakeJobStream, path: str, body: dict[str, Any]
) -> None:
    options = {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False, "persona": "kind"}}
    assert (await http.post(path, json=body | options)).status_code == 200
    assert stream.submitted[-1].request.template_options == {
        "reasoning_effort": "low", "enable_thinking": False, "persona": "kind",
    }  # fmt: skip
    assert (await http.post(path, json=body | {"reasoning_effort": None})).status_code == 200
    assert stream.submitted[-1].request.template_options == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reasoning_effort", "most"),
        ("reasoning_effort", 3),
        ("chat_template_kwargs", "enable_thinking"),
        ("chat_template_kwargs", {str(at): at for at in range(33)}),
    ],
)
async def test_what_is_no_such_value_is_refused(http: httpx.AsyncClient, field: str, value: object) -> None:
    answer = await http.post(CHAT, json={"messages": MESSAGES, field: value})
    assert error_of(answer, 400)["param"] == field


async def test_the_models_tell_their_template_and_whether_they_reason(
    http: httpx.AsyncClient, stream: FakeJobStream
) -> None:
    (worker,) = stream.live[Role.INFERENCE].values()
    worker["model"] = {"name": MODEL, "chat_template": "family:llama2", "reasons": True}
    (model,) = [model for model in (await http.get("/v1/models")).json()["data"] if model["id"] == MODEL]
    assert (model["chat_template"], model["reasoning"]) == ("family:llama2", True)
