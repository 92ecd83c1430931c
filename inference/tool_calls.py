"""Finds tool calls in the model's text, in each of the forms of `inference.call_formats`. Pure, incremental."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import msgspec

OPEN, CLOSE = "<tool_call>", "</tool_call>"
#: How an answer that is a call without tags begins; what is written otherwise is text.
BARE_START = '{"name": "'


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


class _Call(msgspec.Struct):
    """What stands between the tags. The arguments stay as the model wrote them: numbers keep all their digits."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"")
    #: What some models call them.
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_decoder = msgspec.json.Decoder(_Call)


class CallParser(Protocol):
    """Takes text as it comes, gives out text and calls. What only looks like a call comes out as text, unchanged."""

    @property
    def is_inside(self) -> bool:
        """Whether a call has begun and not ended."""

    def push(self, text: str) -> list[Text | ToolCall]:
        """Takes a delta, returns what is certain now."""

    def finish(self) -> list[Text | ToolCall]:
        """What is left at the end of the answer."""


class ToolCallParser:
    """Calls in `<tool_call>` tags, amid text."""

    def __init__(self) -> None:
        self._held = ""
        #: White space before a call, which is text only if the call is none.
        self._gap = ""
        self._inside = False
        self._calls = 0

    @property
    def is_inside(self) -> bool:
        """Whether a call has begun and not ended."""
        return self._inside

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
            return [call] if call else [Text(self._gap + OPEN + held)]
        return [Text(held)] if held and (held.strip() or not self._calls) else []

    def _outside_step(self) -> list[Text | ToolCall] | None:
        before, tag, after = self._held.partition(OPEN)
        if tag:
            text = before.rstrip()
            self._held, self._gap, self._inside = after, before[len(text) :], True
            return [Text(text)] if text else []
        # White space is held back too: before a call it is none of the text.
        text = before[: len(before) - _possible_start(before)].rstrip()
        if not text:
            return None
        self._held = self._held[len(text) :]
        return [Text(text)]

    def _inside_step(self) -> list[Text | ToolCall] | None:
        at = self._held.find(CLOSE)
        while at >= 0 and _in_string(self._held[:at]):
            at = self._held.find(CLOSE, at + 1)
        if at < 0:
            return None
        body, self._held = self._held[:at], self._held[at + len(CLOSE) :]
        self._inside = False
        call = self._parse(body)
        return [call] if call else [Text(self._gap + OPEN + body + CLOSE)]

    def _parse(self, body: str) -> ToolCall | None:
        call = _parsed(body, self._calls)
        self._calls += call is not None
        return call


class BareCallParser:
    """An answer that is one call, as JSON without tags, or else text."""

    def __init__(self) -> None:
        self._held = ""
        self._is_text = False

    @property
    def is_inside(self) -> bool:
        return self._held.startswith(BARE_START) and _parsed(self._held, 0) is None

    def push(self, text: str) -> list[Text | ToolCall]:
        if self._is_text:
            return [Text(text)] if text else []
        self._held += text
        if self._held.startswith(BARE_START) or BARE_START.startswith(self._held):
            return []
        self._is_text = True
        return self.finish()

    def finish(self) -> list[Text | ToolCall]:
        held, self._held = self._held, ""
        call = _parsed(held, 0) if held.startswith(BARE_START) else None
        return [call] if call else [Text(held)] if held else []


def _parsed(body: str, index: int) -> ToolCall | None:
    try:
        value = _decoder.decode(body)
        arguments = bytes(value.arguments or value.parameters)
        text = msgspec.json.decode(arguments, type=str) if arguments.startswith(b'"') else arguments.decode()
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    return ToolCall(index, value.name, text)


def _in_string(text: str) -> bool:
    """Whether JSON that begins like this is within a string."""
    return '"' in _STRING.sub("", text)


def _possible_start(text: str) -> int:
    """Length of the longest end of `text` that the opening tag begins with."""
    return next((size for size in range(min(len(OPEN) - 1, len(text)), 0, -1) if OPEN.startswith(text[-size:])), 0)
