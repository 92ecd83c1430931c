"""The formats in which models write calls. A model's own format is recognised from how its template writes a call."""

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
    AnswerOptions,
    BegunCall,
    CallFormat,
    CallParser,
    Text,
    ToolCall,
)
from inference.grammars.call_formats.function_tags import FunctionTagFormat
from inference.grammars.call_formats.mistral import MistralListFormat, MistralNamedFormat
from inference.grammars.call_formats.parameter_tags import ParameterTagFormat
from inference.grammars.call_formats.tagged import TaggedFormat

__all__ = [
    "FORMATS", "AnswerOptions", "BareFormat", "BegunCall", "CallFormat", "CallParser", "FunctionTagFormat",
    "MistralListFormat",
    "MistralNamedFormat", "NativeFormat", "ParameterTagFormat", "TaggedFormat", "Text", "ToolCall",
    "native_format",
]  # fmt: skip

#: All formats, in the order in which they are tried.
FORMATS: tuple[type[CallFormat], ...] = (
    TaggedFormat,
    MistralListFormat,
    MistralNamedFormat,
    FunctionTagFormat,
    ParameterTagFormat,
    BareFormat,
)


@dataclass(frozen=True)
class NativeFormat:
    """The format in which a template writes calls, and whether it takes arguments as JSON text instead of objects."""

    form: CallFormat
    arguments_as_text: bool


def native_format(
    render: Callable[[list[dict[str, Any]], list[dict[str, Any]]], str], control_tokens: Mapping[str, int]
) -> NativeFormat | None:
    """Return how a template writes calls, or None if it writes none, does not list tools, or has an unknown format.

    `render` takes messages and tools, and may raise any error. `control_tokens` are those of the vocabulary.
    """
    for as_text in (False, True):
        prompt = _probed(render, json.dumps(PROBE_ARGUMENTS) if as_text else PROBE_ARGUMENTS)
        for kind in FORMATS:
            if prompt is not None and (form := kind.written_in(prompt, control_tokens)) is not None:
                return NativeFormat(form, as_text)
    return None


def _probed(render: Callable[[list[dict[str, Any]], list[dict[str, Any]]], str], arguments: Any) -> str | None:
    """Return a prompt with a probe call and its result, or None if the template omits the result or the tools."""
    function = {"name": PROBE_NAME, "arguments": arguments}
    question = {"role": "user", "content": "Probe."}
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": PROBE_ID, "type": "function", "function": function}],
    }
    result = {"role": "tool", "name": PROBE_NAME, "tool_call_id": PROBE_ID, "content": "probed"}
    try:
        listed = render([question], [PROBE_TOOL])
        answered = render([question, called, result], [PROBE_TOOL])
    except Exception:  # a template is a program that may raise anything: if it cannot render this, it has no calls
        return None
    return answered if PROBE_NAME in listed and "probed" in answered else None
