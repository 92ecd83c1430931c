"""`{"name": …, "parameters": {…}}` as the whole answer: Llama 3.1, 3.2 and 3.3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec

from core.messages import ChatMessage
from inference.grammars import lark
from inference.grammars.call_formats.base import (
    PROBE_ARGUMENTS,
    PROBE_NAME,
    Asked,
    CallFormat,
    CallParser,
    Speller,
    Text,
    ToolCall,
)
from inference.grammars.call_formats.objects import object_rules, read_object

#: How an answer that is a call begins; what is written otherwise is text.
START = '{"name": "'


class BareFormat(CallFormat):
    """One JSON object without tags, which has to be all of the answer."""

    def rules(self, asked: Asked, _spell: Speller) -> str:
        call = f"call: any_call {lark.literal('}')}\n"
        if not asked.is_free:
            return asked.or_answer("call") + call
        # Any text but one that begins as a call does: it leaves that path at some character, or ends on it.
        others = [f"{lark.pattern(START[:at])}([^{lark.pattern(START[at])}](.|\\n)*)?" for at in range(len(START))]
        return f"start: call | text\ntext: /{'|'.join(others)}/\n{call}"

    def call_rules(self, rule: str, name: str, schema: dict[str, Any], _spell: Speller) -> str:
        return object_rules(rule, name, "parameters", schema)

    def parser(self, _tools: Sequence[dict[str, Any]] = ()) -> CallParser:
        return BareCallParser()

    @classmethod
    def written_in(cls, prompt: str, control_tokens: Mapping[str, int]) -> Self | None:
        call = f'{{"name": "{PROBE_NAME}", "parameters": {json.dumps(PROBE_ARGUMENTS)}}}'
        return cls(control_tokens) if call in prompt else None

    def conversation(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """Parallel calls one after the other, each with its result: these templates know one call at a time."""
        single: list[ChatMessage] = []
        results = {one.tool_call_id: one for one in messages if one.role == "tool" and one.tool_call_id is not None}
        moved: set[str] = set()
        for message in messages:
            calls = message.tool_calls or []
            if len(calls) > 1:
                for at, call in enumerate(calls):
                    content = None if at else message.content
                    single.append(msgspec.structs.replace(message, content=content, tool_calls=[call]))
                    if (result := results.get(call.get("id", ""))) is not None:
                        single.append(result)
                        moved.add(call["id"])
            elif message.tool_call_id not in moved:
                single.append(message)
        return single


class BareCallParser:
    """An answer that is one call, or else text."""

    def __init__(self) -> None:
        self._held = ""
        self._is_text = False

    @property
    def is_inside(self) -> bool:
        return self._held.startswith(START) and read_object(self._held) is None

    def push(self, text: str) -> list[Text | ToolCall]:
        if self._is_text:
            return [Text(text)] if text else []
        self._held += text
        if self._held.startswith(START) or START.startswith(self._held):
            return []
        self._is_text = True
        return self.finish()

    def finish(self) -> list[Text | ToolCall]:
        held, self._held = self._held, ""
        call = read_object(held) if held.startswith(START) else None
        return [ToolCall(0, *call)] if call else [Text(held)] if held else []
