"""The forms in which models write calls. Which one is a model's own is seen from how its template writes a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from inference.call_formats.bare import BareFormat
from inference.call_formats.base import (
    PROBE_ARGUMENTS,
    PROBE_ID,
    PROBE_NAME,
    Asked,
    CallFormat,
    CallParser,
    Text,
    ToolCall,
    ToolMode,
)
from inference.call_formats.mistral import MistralListFormat, MistralNamedFormat
from inference.call_formats.tagged import TaggedFormat

__all__ = [
    "FORMATS", "Asked", "BareFormat", "CallFormat", "CallParser", "MistralListFormat", "MistralNamedFormat",
    "TaggedFormat", "Text", "ToolCall", "ToolMode", "native_format",
]  # fmt: skip

#: All forms, in the order in which they are looked for.
FORMATS: tuple[type[CallFormat], ...] = (TaggedFormat, MistralListFormat, MistralNamedFormat, BareFormat)

_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": PROBE_NAME,
        "description": "A probe.",
        "parameters": {"type": "object", "properties": {"probe": {"type": "integer"}}},
    },
}
_CALL = {"id": PROBE_ID, "type": "function", "function": {"name": PROBE_NAME, "arguments": PROBE_ARGUMENTS}}


def native_format(
    render: Callable[[list[dict[str, Any]], list[dict[str, Any]]], str], control_tokens: Mapping[str, int]
) -> CallFormat | None:
    """The form in which a template writes calls; None if it writes none, does not list tools, or has another form.

    `render` takes messages and tools, and may raise whatever templates raise. `control_tokens` are the vocabulary's.
    """
    question = {"role": "user", "content": "Probe."}
    called = {"role": "assistant", "content": "", "tool_calls": [_CALL]}
    result = {"role": "tool", "name": PROBE_NAME, "tool_call_id": PROBE_ID, "content": "probed"}
    try:
        asked = render([question], [_TOOL])
        answered = render([question, called, result], [_TOOL])
    except Exception:  # templates are programs of others: one that cannot do this has no calls
        return None
    if PROBE_NAME not in asked or "probed" not in answered:
        return None
    return next((form for kind in FORMATS if (form := kind.written_in(answered, control_tokens)) is not None), None)
