"""The forms in which models write calls. Which one is a model's own is seen from how its template writes a call."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from inference.tool_calls import BareCallParser, CallParser, ToolCall, ToolCallParser

PROBE_NAME, PROBE_ARGUMENTS = "probe_function", {"probe": 1}
PROBE_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": PROBE_NAME,
        "description": "A probe.",
        "parameters": {"type": "object", "properties": {"probe": {"type": "integer"}}},
    },
}


class CallFormat(StrEnum):
    """A form of calls that can be enforced and read."""

    #: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, amid text, any number of them: Hermes, Qwen, SmolLM3.
    TAGGED = "tagged"
    #: `{"name": …, "parameters": {…}}` as the whole answer: Llama 3.1, 3.2 and 3.3.
    BARE = "bare"

    def parser(self) -> CallParser:
        """Finds calls of this form in an answer."""
        return BareCallParser() if self is CallFormat.BARE else ToolCallParser()


def native_format(render: Callable[[list[dict[str, Any]], list[dict[str, Any]]], str]) -> CallFormat | None:
    """The form in which a template writes calls; None if it writes none, does not list tools, or has another form.

    `render` takes messages and tools, and may raise whatever templates raise.
    """
    call = {"id": "probe0001", "type": "function", "function": {"name": PROBE_NAME, "arguments": PROBE_ARGUMENTS}}
    question = {"role": "user", "content": "Probe."}
    try:
        asked = render([question], [PROBE_TOOL])
        answered = render(
            [
                question,
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "name": PROBE_NAME, "tool_call_id": "probe0001", "content": "probed"},
            ],
            [PROBE_TOOL],
        )
    except Exception:  # templates are programs of others: one that cannot do this has no calls
        return None
    if PROBE_NAME not in asked or "probed" not in answered:
        return None
    parser = ToolCallParser()
    found = [one for one in [*parser.push(answered), *parser.finish()] if isinstance(one, ToolCall)]
    if any(one.name == PROBE_NAME and _is_probe(one.arguments) for one in found):
        return CallFormat.TAGGED
    bare = f'{{"name": "{PROBE_NAME}", "parameters": {json.dumps(PROBE_ARGUMENTS)}}}'
    return CallFormat.BARE if bare in answered else None


def _is_probe(arguments: str) -> bool:
    try:
        return bool(json.loads(arguments) == PROBE_ARGUMENTS)
    except ValueError:
        return False
