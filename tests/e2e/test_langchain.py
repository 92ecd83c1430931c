"""LangChain: a small agent with tools of the client and of the server, structured output, and embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.support import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.check]


class Person(BaseModel):
    """A person."""

    likes_tea: bool


@tool
def count_pieces(warehouse: bool) -> int:
    """Return the number of pieces in stock."""
    return 17 if warehouse else 3


@pytest.fixture
def answers() -> list[dict[str, Any]]:
    """Return the list to which `model` appends the bodies of the answers."""
    return []


@pytest.fixture
def model(stack: Stack, answers: list[dict[str, Any]]) -> Iterator[ChatOpenAI]:
    def keep(response: httpx.Response) -> None:
        if response.headers["content-type"] == "application/json":
            response.read()
            answers.append(response.json())

    with httpx.Client(event_hooks={"response": [keep]}, timeout=100) as client:
        yield ChatOpenAI(
            base_url=f"{stack.base_url}/v1",
            api_key="none",  # type: ignore[arg-type]
            model="any",
            temperature=0,
            max_retries=0,
            max_tokens=60,  # type: ignore[call-arg]
            http_client=client,
        )


def test_an_agent_runs_tools_of_the_client(model: ChatOpenAI) -> None:
    messages: list[Any] = [HumanMessage("How many pieces are there?")]
    choices = iter(["required", "none"])
    while True:
        message = model.bind_tools([count_pieces], tool_choice=next(choices)).invoke(messages)
        assert isinstance(message, AIMessage)
        messages.append(message)
        if not message.tool_calls:
            break
        messages += [count_pieces.invoke(call) for call in message.tool_calls]

    results = [message.content for message in messages if message.type == "tool"]
    assert results and set(results) <= {"17", "3"}
    assert messages[-1].content and messages[-1].response_metadata["finish_reason"] in ("stop", "length")


def test_calls_are_streamed(model: ChatOpenAI) -> None:
    whole: Any = None
    for chunk in model.bind_tools([count_pieces], tool_choice="count_pieces").stream("How many pieces are there?"):
        whole = chunk if whole is None else whole + chunk
    assert [call["name"] for call in whole.tool_calls] == ["count_pieces"]
    assert isinstance(whole.tool_calls[0]["args"]["warehouse"], bool)


def test_an_agent_uses_functions_of_the_server(model: ChatOpenAI, answers: list[dict[str, Any]]) -> None:
    asked = {"server_tools": ["get_current_time"], "max_tool_rounds": 1, "tool_choice": "required"}
    message = model.bind(extra_body=asked, parallel_tool_calls=False).invoke("What time is it in UTC?")

    assert isinstance(message, AIMessage) and not message.tool_calls
    (choice,) = answers[-1]["choices"]
    assert [result["name"] for result in choice["message"]["tool_results"]] == ["get_current_time"]
    assert choice["finish_reason"] in ("stop", "length")


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(model: ChatOpenAI, method: Any) -> None:
    answer = model.with_structured_output(Person, method=method).invoke("Does she like tea?")
    assert isinstance(answer, Person)


def test_embeddings(stack: Stack) -> None:
    # With `check_embedding_ctx_length`, LangChain would send token ids of OpenAI's tokenizer.
    embeddings = OpenAIEmbeddings(
        base_url=f"{stack.base_url}/v1",
        api_key="none",  # type: ignore[arg-type]
        model="any",
        check_embedding_ctx_length=False,
    )
    documents = embeddings.embed_documents(["The warranty lasts four years.", "Green tea is steeped for two minutes."])
    question = embeddings.embed_query("How long is the warranty?")
    near, far = (sum(a * b for a, b in zip(question, document, strict=True)) for document in documents)
    assert near > far, json.dumps([near, far])
