"""LlamaIndex, with its integration for servers that are like OpenAI's."""

from __future__ import annotations

import checks
from checks import API_KEY, BASE_URL, MAX_TOKENS, MODEL, QUESTION, require, run
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

model = OpenAILike(
    model=MODEL,
    api_base=BASE_URL,
    api_key=API_KEY,
    max_tokens=MAX_TOKENS,
    max_retries=0,
    is_chat_model=True,
    is_function_calling_model=True,
)
messages = [ChatMessage(role="user", content=QUESTION)]
weather = FunctionTool.from_defaults(checks.get_weather)


def chat() -> None:
    """Check an answer."""
    require(model.chat(messages).message.content, "the answer has no text")


def stream() -> None:
    """Check that pieces of text arrive."""
    require("".join(part.delta or "" for part in model.stream_chat(messages)), "no chunk has text")


def tools() -> None:
    """Check an enforced call, whole and streamed, and the answer to its result."""
    answer = model.chat_with_tools([weather], chat_history=messages, tool_required=True)
    calls = model.get_tool_calls_from_response(answer)
    results = [
        ChatMessage(
            role="tool", content=str(weather.call(**call.tool_kwargs)), additional_kwargs={"tool_call_id": call.tool_id}
        )
        for call in calls
    ]
    model.chat_with_tools([weather], chat_history=[*messages, answer.message, *results])
    parts = list(model.stream_chat_with_tools([weather], chat_history=messages, tool_required=True))
    require(model.get_tool_calls_from_response(parts[-1]), "the streamed call is not whole")


run(chat=chat, stream=stream, tools=tools)
