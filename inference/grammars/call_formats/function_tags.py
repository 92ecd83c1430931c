"""`<function=name>{…}</function>`: Functionary 3.1, and others that were trained on Llama 3.1's custom tools."""

from __future__ import annotations

from typing import Any

from inference.grammars import lark
from inference.grammars.call_formats.base import AnswerOptions, Terminals
from inference.grammars.call_formats.marked import MarkedFormat, Schemas
from inference.grammars.call_formats.objects import Call, arguments_rules, end_of_head, end_of_tag, is_arguments

OPEN, HEAD_END, CLOSE = "<function=", ">", "</function>"


class FunctionTagFormat(MarkedFormat):
    """The arguments as JSON in tags with the function's name."""

    markers = (OPEN, CLOSE)
    opening = OPEN

    def body(self, _options: AnswerOptions, terminal: Terminals) -> str:
        return f"any_call {terminal(CLOSE)}"

    def call_rules(self, rule: str, name: str, schema: dict[str, Any], _terminal: Terminals) -> str:
        return arguments_rules(rule, lark.literal(name + HEAD_END), schema)

    def body_end(self, text: str) -> int:
        start = end_of_head(text, HEAD_END)
        return end_of_tag(text, self.marker_in_text(CLOSE), start) if start > 0 else start

    def begun(self, body: str) -> tuple[str, int] | None:
        start = end_of_head(body, HEAD_END)
        return (body[: start - len(HEAD_END)], start) if start > 0 and body[start : start + 1] == "{" else None

    def read(self, body: str, _schemas: Schemas) -> list[Call]:
        name, _, arguments = body.removesuffix(self.marker_in_text(CLOSE)).partition(HEAD_END)
        return [(name, arguments.strip())] if name and is_arguments(arguments) else []
