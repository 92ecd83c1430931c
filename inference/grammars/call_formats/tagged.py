"""`<tool_call>{"name": …, "arguments": {…}}</tool_call>`: Hermes, Qwen 2.5 and 3, SmolLM3."""

from __future__ import annotations

from typing import Any

from inference.grammars import lark
from inference.grammars.call_formats.base import AnswerOptions, Terminals
from inference.grammars.call_formats.marked import MarkedFormat, Schemas
from inference.grammars.call_formats.objects import Call, begun_object, end_of_tag, object_rules, read_object

OPEN, CLOSE = "<tool_call>", "</tool_call>"


class TaggedFormat(MarkedFormat):
    """JSON objects in tags. Models without a known format are asked to write this one."""

    markers = (OPEN, CLOSE)
    opening = OPEN
    separator = "\n"

    def body(self, _options: AnswerOptions, terminal: Terminals) -> str:
        return f"{lark.literal(chr(10))} any_call {lark.literal('}' + chr(10))} {terminal(CLOSE)}"

    def call_rules(self, rule: str, name: str, schema: dict[str, Any], _terminal: Terminals) -> str:
        return object_rules(rule, name, "arguments", schema)

    def body_end(self, text: str) -> int:
        return end_of_tag(text, self.marker_in_text(CLOSE))

    def begun(self, body: str) -> tuple[str, int] | None:
        return begun_object(body)

    def read(self, body: str, _schemas: Schemas) -> list[Call]:
        call = read_object(body.removesuffix(self.marker_in_text(CLOSE)))
        return [call] if call else []
