"""Finds tool calls in the model's text, `<tool_call>{"name": …, "arguments": {…}}</tool_call>`. Pure, incremental."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

OPEN, CLOSE = "<tool_call>", "</tool_call>"


@dataclass(frozen=True)
class Text:
    """Text for the reader."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """Call number `index` of an answer; `arguments` is a JSON object as text, as OpenAI's wire format has it."""

    index: int
    name: str
    arguments: str


class ToolCallParser:
    """Takes text as it comes, gives out text and calls. What only looks like a call comes out as text, unchanged."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False
        self._calls = 0

    def push(self, text: str) -> list[Text | ToolCall]:
        """Takes a delta, returns what is certain now."""
        self._held += text
        found: list[Text | ToolCall] = []
        while (step := self._inside_step() if self._inside else self._outside_step()) is not None:
            found += step
        return found

    def finish(self) -> list[Text | ToolCall]:
        """What is left at the end of the answer. A call whose closing tag was cut off counts if its JSON is whole."""
        held, self._held = self._held, ""
        if self._inside:
            self._inside = False
            call = self._parse(held)
            return [call] if call else [Text(OPEN + held)]
        return [Text(held)] if held else []

    def _outside_step(self) -> list[Text | ToolCall] | None:
        before, tag, after = self._held.partition(OPEN)
        if tag:
            self._held, self._inside = after, True
            return [Text(before)] if before.strip() else []
        keep = _possible_start(self._held)
        safe = self._held[: len(self._held) - keep]
        if not safe:
            return None
        self._held = self._held[len(safe) :]
        return [Text(safe)]

    def _inside_step(self) -> list[Text | ToolCall] | None:
        body, tag, after = self._held.partition(CLOSE)
        if not tag:
            return None
        self._held, self._inside = after, False
        call = self._parse(body)
        return [call] if call else [Text(OPEN + body + CLOSE)]

    def _parse(self, body: str) -> ToolCall | None:
        try:
            value: Any = json.loads(body)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            return None
        arguments = value.get("arguments", value.get("parameters", {}))
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        self._calls += 1
        return ToolCall(self._calls - 1, value["name"], text)


def _possible_start(text: str) -> int:
    """Length of the longest end of `text` that the opening tag begins with."""
    return next((size for size in range(min(len(OPEN) - 1, len(text)), 0, -1) if OPEN.startswith(text[-size:])), 0)
