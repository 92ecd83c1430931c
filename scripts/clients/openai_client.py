"""The official Python client of OpenAI."""

from __future__ import annotations

import json
from typing import Any

from checks import API_KEY, BASE_URL, MAX_TOKENS, MODEL, QUESTION, WEATHER_TOOL, require, run
from openai import OpenAI

client = OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, _strict_response_validation=True)
messages: list[Any] = [{"role": "user", "content": QUESTION}]
options: dict[str, Any] = {"model": MODEL, "max_tokens": MAX_TOKENS}


def chat() -> None:
    """Check an answer, and that a model that the server lists answers under its own name."""
    answer = client.chat.completions.create(messages=messages, **options)
    require(answer.choices[0].message.content, "the answer has no text")
    require(answer.usage and answer.usage.total_tokens > 0, "the answer has no usage")
    listed = {model.id for model in client.models.list()}
    require(answer.model == MODEL or MODEL not in listed, f"{MODEL} is listed, but {answer.model} answered")


def stream() -> None:
    """Check that pieces of text arrive, then one finish reason and the usage."""
    chunks = list(
        client.chat.completions.create(
            messages=messages, stream=True, stream_options={"include_usage": True}, **options
        )
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    require(any(choice.delta.content for choice in choices), "no chunk has text")
    require(sum(choice.finish_reason is not None for choice in choices) == 1, "there is not one finish_reason")
    require(chunks[-1].usage, "the last chunk has no usage")


def tools() -> None:
    """Check an enforced call, whole and streamed, and the answer to its result."""
    forced = {"tools": [WEATHER_TOOL], "tool_choice": "required", "parallel_tool_calls": False, **options}
    message = client.chat.completions.create(messages=messages, **forced).choices[0].message
    require(message.tool_calls, "there is no call")
    [call] = message.tool_calls or []
    require(json.loads(call.function.arguments)["unit"] in ("celsius", "fahrenheit"), "the arguments break the schema")
    result = {"role": "tool", "tool_call_id": call.id, "content": "21"}
    client.chat.completions.create(messages=[*messages, message, result], tools=[WEATHER_TOOL], **options)
    with client.chat.completions.stream(messages=messages, **forced) as events:
        final = events.get_final_completion().choices[0].message
    require(final.tool_calls and json.loads(final.tool_calls[0].function.arguments), "the streamed call is not whole")


run(chat=chat, stream=stream, tools=tools)
