"""LangChain, with the package langchain-openai."""

from __future__ import annotations

from typing import Any

import checks
from checks import API_KEY, BASE_URL, MAX_TOKENS, MODEL, QUESTION, require, run
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

model = ChatOpenAI(base_url=BASE_URL, api_key=API_KEY, model=MODEL, max_retries=0, max_tokens=MAX_TOKENS)
weather = tool(checks.get_weather)


def chat() -> None:
    """Check an answer and its usage."""
    answer = model.invoke(QUESTION)
    require(isinstance(answer, AIMessage) and answer.content, "the answer has no text")
    require(answer.usage_metadata, "the answer has no usage")


def stream() -> None:
    """Check that pieces of text arrive."""
    require("".join(str(chunk.content) for chunk in model.stream(QUESTION)), "no chunk has text")


def tools() -> None:
    """Check an enforced call, whole and streamed, and the answer to its result."""
    forced = model.bind_tools([weather], tool_choice="required")
    messages: list[Any] = [HumanMessage(QUESTION)]
    answer = forced.invoke(messages)
    require(isinstance(answer, AIMessage) and answer.tool_calls, "there is no call")
    results = [ToolMessage(str(weather.invoke(call["args"])), tool_call_id=call["id"]) for call in answer.tool_calls]
    model.bind_tools([weather]).invoke([*messages, answer, *results])
    whole: Any = None
    for chunk in forced.stream(messages):
        whole = chunk if whole is None else whole + chunk
    require(whole.tool_calls, "the streamed call is not whole")


run(chat=chat, stream=stream, tools=tools)
