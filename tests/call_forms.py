"""All formats of tool calls, with their markers as text and as control tokens of a byte vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

from inference.grammars.call_formats import FORMATS, CallFormat, CallParser, MistralNamedFormat, Text, ToolCall
from inference.text.detokenizer import Detokenizer

#: Control tokens of the byte vocabulary, in another order than the markers.
CONTROLS = {
    "[CALL_ID]": 256, "[ARGS]": 257, "[TOOL_CALLS]": 258, "</tool_call>": 259, "<tool_call>": 260,
}  # fmt: skip
PLAIN: list[CallFormat] = [kind() for kind in FORMATS]
CONTROLLED: list[CallFormat] = [form for kind in FORMATS if (form := kind(CONTROLS)).controls]
FORMS = [*PLAIN, *CONTROLLED, MistralNamedFormat(has_ids=True), MistralNamedFormat(CONTROLS, has_ids=True)]


def form_id(form: CallFormat) -> str:
    return f"{type(form).__name__}-{'controls' if form.controls else 'text'}"


def text_of(form: CallFormat, tokens: Sequence[int]) -> str:
    """Return the text that the parser of a format gets from tokens."""
    detokenizer = Detokenizer(lambda token: bytes([token]) if token < 256 else b"", marks=form.marks)
    return "".join(map(detokenizer.push, tokens)) + detokenizer.finish()


def parsed(parser: CallParser, text: str, size: int = 1) -> list[Text | ToolCall]:
    """Return what a parser finds in a text sent in pieces of `size` characters, with adjacent texts joined."""
    found = [one for at in range(0, len(text), size) for one in parser.push(text[at : at + size])]
    merged: list[Text | ToolCall] = []
    for one in [*found, *parser.finish()]:
        if isinstance(one, Text) and merged and isinstance(merged[-1], Text):
            merged[-1] = Text(merged[-1].text + one.text)
        else:
            merged.append(one)
    return merged
