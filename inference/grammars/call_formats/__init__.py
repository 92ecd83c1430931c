"""The forms in which models write calls. Which one is a model's own is seen from how its template writes a call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from inference.grammars.call_formats.bare import BareFormat
from inference.grammars.call_formats.base import (
    PROBE_ARGUMENTS,
    PROBE_ID,
    PROBE_NAME,
    PROBE_TOOL,
    Asked,
    CallFormat,
    CallParser,
    Text,
    ToolCall,
    ToolMode,
)
from inference.grammars.call_formats.function_tags import FunctionTagFormat
from inference.grammars.call_formats.mistral import MistralListFormat, MistralNamedFormat
from inference.grammars.call_formats.parameter_tags import ParameterTagFormat
from inference.grammars.call_formats.tagged import TaggedFormat

__all__ = [
    "FORMATS", "Asked", "BareFormat", "CallFormat", "CallParser", "FunctionTagFormat", "MistralListFormat",
    "MistralNamedFormat", "Native", "ParameterTagFormat", "TaggedFormat", "Text", "ToolCall", "ToolMode",
    "native_format",
]  # fmt: skip

#: All forms, in the order in which they are looked for.
FORMATS: tuple[type[CallFormat], ...] = (
    TaggedFormat,
    MistralListFormat,
    MistralNamedFormat,
    FunctionTagFormat,
    ParameterTagFormat,
    BareFormat,
)


@dataclass(frozen=True)
class Native:
    """The form in which a template writes calls, and whether it takes arguments as JSON text rather than as objects."""

    form: CallFormat
    arguments_as_text: bool


def native_format(
    render: Callable[[list[dict[str, Any]], list[dict[str, Any]]], str], control_tokens: Mapping[str, int]
) -> Native | None:
    """How a template writes calls; None if it writes none, does not list tools, or has another form.

    `render` takes messages and tools, and may raise whatever templates raise. `control_tokens` are the vocabulary's.
    """
    for as_text in (False, True):
        prompt = _probed(render, json.dumps(PROBE_ARGUMENTS) if as_text else PROBE_ARGUMENTS)
        for kind in FORMATS:
            if prompt is not None and (form := kind.written_in(prompt, control_tokens)) is not None:
                return Native(form, as_text)
    return None


def _probed(render: Callable[[list[dict[str, Any]], list[dict[str, Any]]], str], arguments: Any) -> str | None:
    """A prompt with a call and its result; None if the template cannot write one that has both, or no tools."""
    function = {"name": PROBE_NAME, "arguments": arguments}
    question = {"role": "user", "content": "Probe."}
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": PROBE_ID, "type": "function", "function": function}],
    }
    result = {"role": "tool", "name": PROBE_NAME, "tool_call_id": PROBE_ID, "content": "probed"}
    try:
        asked = render([question], [PROBE_TOOL])
        answered = render([question, called, result], [PROBE_TOOL])
    except Exception:  # templates are programs of others: one that cannot do this has no calls
        return None
    return answered if PROBE_NAME in asked and "probed" in answered else None
