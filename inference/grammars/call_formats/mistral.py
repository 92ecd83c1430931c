"""Mistral's calls after `[TOOL_CALLS]`, whose markers are control tokens: as one list, or each with its own marker."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Self

import msgspec

from core.messages import ChatMessage
from inference.grammars import lark
from inference.grammars.call_formats.base import MAX_PARALLEL_CALLS, PROBE_NAME, AnswerOptions, Terminals
from inference.grammars.call_formats.marked import MarkedFormat, Schemas
from inference.grammars.call_formats.objects import (
    Call,
    arguments_rules,
    end_of_head,
    end_of_json,
    is_arguments,
    object_rules,
    read_list,
)

OPEN, CALL_ID, ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
ID_CHARACTERS = 9
_ID = f"[a-zA-Z0-9]{{{ID_CHARACTERS}}}"


class MistralFormat(MarkedFormat):
    """The base of both formats, whose templates require ids of nine letters and digits."""

    opening = OPEN

    def conversation(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """Return the messages with such ids: the same for a call and its result, and the same in each request.

        Results without an id are assigned in the order of their calls.
        """
        renamed: list[ChatMessage] = []
        open_calls: list[str] = []
        for at, message in enumerate(messages):
            if message.tool_calls:
                calls = [
                    {**call, "id": nine_characters(call.get("id") or f"{at}/{number}")}
                    for number, call in enumerate(message.tool_calls)
                ]
                open_calls = [call["id"] for call in calls]
                message = msgspec.structs.replace(message, tool_calls=calls)
            elif message.role == "tool":
                own = message.tool_call_id
                call_id = nine_characters(own) if own or not open_calls else open_calls[0]
                open_calls = [other for other in open_calls if other != call_id]
                message = msgspec.structs.replace(message, tool_call_id=call_id)
            renamed.append(message)
        return renamed


class MistralListFormat(MistralFormat):
    """`[TOOL_CALLS][{"name": …, "arguments": {…}, "id": "123abcXYZ"}]`: 7B v0.3, Nemo, Large, Small up to 3.1."""

    markers = (OPEN,)
    repeats = False

    def body(self, options: AnswerOptions, _terminal: Terminals) -> str:
        more = f" ({lark.literal(', ')} one){{0,{MAX_PARALLEL_CALLS - 1}}}" if options.parallel else ""
        opening, closing = lark.literal(', "id": "'), lark.literal('"')
        one = f"one: any_call ({opening} /{_ID}/ {closing})? {lark.literal('}')}\n"
        # The tokenizers of older models insert a space after a control token.
        return f'" "? "[" one{more} "]"\n{one}'

    def call_rules(self, rule: str, name: str, schema: dict[str, Any], _terminal: Terminals) -> str:
        return object_rules(rule, name, "arguments", schema)

    def body_end(self, text: str) -> int:
        listed = text.lstrip()
        if not listed:
            return -1
        return end_of_json(text, len(text) - len(listed)) if listed[0] == "[" else 0

    def read(self, body: str, _schemas: Schemas) -> list[Call]:
        return read_list(body)


class MistralNamedFormat(MistralFormat):
    """`[TOOL_CALLS]name[ARGS]{…}`: Magistral, Devstral, Ministral 3; with `[CALL_ID]123abcXYZ` between, Small 3.2."""

    markers = (OPEN, CALL_ID, ARGS)

    def __init__(self, control_tokens: Mapping[str, int] | None = None, *, has_ids: bool = False) -> None:
        super().__init__(control_tokens)
        self._has_ids = has_ids

    def body(self, _options: AnswerOptions, _terminal: Terminals) -> str:
        return "any_call"

    def call_rules(self, rule: str, name: str, schema: dict[str, Any], terminal: Terminals) -> str:
        call_id = f"{terminal(CALL_ID)} /{_ID}/ " if self._has_ids else ""
        return arguments_rules(rule, f"{lark.literal(name)} {call_id}{terminal(ARGS)}", schema)

    def body_end(self, text: str) -> int:
        start = end_of_head(text, self.marker_in_text(ARGS))
        if start == 0 or text[start : start + 1] not in ("", "{"):
            return 0
        return end_of_json(text, start) if start > 0 else -1

    def begun(self, body: str) -> tuple[str, int] | None:
        start = end_of_head(body, self.marker_in_text(ARGS))
        if start <= 0 or body[start : start + 1] != "{":
            return None
        return body[:start].removesuffix(self.marker_in_text(ARGS)).partition(self.marker_in_text(CALL_ID))[0], start

    def read(self, body: str, _schemas: Schemas) -> list[Call]:
        head, _, arguments = body.partition(self.marker_in_text(ARGS))
        name = head.partition(self.marker_in_text(CALL_ID))[0]
        return [(name, arguments)] if name and is_arguments(arguments) else []

    @classmethod
    def written_in(cls, prompt: str, control_tokens: Mapping[str, int]) -> Self | None:
        if super().written_in(prompt, control_tokens) is None:
            return None
        return cls(control_tokens, has_ids=f"{PROBE_NAME}{CALL_ID}" in prompt)


def nine_characters(call_id: str | None) -> str:
    """Return the id if it has nine letters and digits, else one derived from it."""
    if call_id is not None and re.fullmatch(_ID, call_id):
        return call_id
    return sha256((call_id or "").encode(errors="surrogatepass")).hexdigest()[:ID_CHARACTERS]
