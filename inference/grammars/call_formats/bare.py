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
    AnswerOptions,
    BegunCall,
    CallFormat,
    CallParser,
    Terminals,
    Text,
    ToolCall,
)
from inference.grammars.call_formats.objects import begun_object, object_rules, read_object

#: The beginning of an answer that is a call; any other answer is text.
START = '{"name": "'


class BareFormat(CallFormat):
    """One JSON object without tags, which must be the whole answer."""

    def rules(self, options: AnswerOptions, _terminal: Terminals) -> str:
        call = f"call: any_call {lark.literal('}')}\n"
        if not options.is_free:
            return options.or_answer("call") + call
        # Any text that does not begin like a call: it differs from `START` at some character, or ends before that.
        others = [f"{lark.pattern(START[:at])}([^{lark.pattern(START[at])}](.|\\n)*)?" for at in range(len(START))]
        return f"start: call | text\ntext: /{'|'.join(others)}/\n{call}"

    def call_rules(self, rule: str, name: str, schema: dict[str, Any], _terminal: Terminals) -> str:
        return object_rules(rule, name, "parameters", schema)

    def parser(self, _tools: Sequence[dict[str, Any]] = ()) -> CallParser:
        return BareCallParser()

    @classmethod
    def written_in(cls, prompt: str, control_tokens: Mapping[str, int]) -> Self | None:
        call = f'{{"name": "{PROBE_NAME}", "parameters": {json.dumps(PROBE_ARGUMENTS)}}}'
        return cls(control_tokens) if call in prompt else None

    def conversation(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """Return the messages with parallel calls in sequence, each followed by its result.

        These templates allow only one call per message.
        """
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
    """Reads an answer that is either one call or text."""

    def __init__(self) -> None:
        self._held = ""
        self._is_text = False

    @property
    def is_inside(self) -> bool:
        return self._held.startswith(START) and read_object(self._held) is None

    @property
    def begun(self) -> BegunCall | None:
        begun = begun_object(self._held)
        return BegunCall(0, begun[0], self._held[begun[1] :]) if begun else None

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
