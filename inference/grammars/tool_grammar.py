"""Builds the grammar of an answer that may or must consist of tool calls, in llguidance's dialect of Lark. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.errors import InvalidRequest
from core.json_schema import check_schema
from inference.grammars.call_formats import AnswerOptions, CallFormat

#: What a function without parameters says of them.
_LISTING = frozenset({"type", "properties", "required", "title", "description", "$schema"})


def tool_grammar(
    tools: Sequence[dict[str, Any]],
    options: AnswerOptions,
    form: CallFormat,
    *,
    param: str = "tools",
    first_control: int | None = None,
) -> str:
    """Return a grammar of calls of these functions, with arguments that fit their schemas.

    With mode "auto" the model writes freely until it begins a call; from there on the grammar enforces the call. With
    an `answer_schema`, an answer without calls is JSON of that schema. A format that allows only one call per answer
    ignores `parallel`. The grammar is over the model's vocabulary, or over one where control tokens begin at
    `first_control`.

    Raises:
        InvalidRequest: if there is no function, or a schema is out of bounds or not a schema of an object.
    """
    if not tools:
        raise InvalidRequest("There is no function to call.", param=param)
    terminal = form.terminals(first_control)
    names = [f"call_{at}" for at in range(len(tools))]
    lines = [form.rules(options, terminal), f"any_call: {' | '.join(names)}\n"]
    for at, (name, tool) in enumerate(zip(names, tools, strict=True)):
        function = tool["function"]
        schema = arguments_schema(function, parameters_field(param, at))
        lines.append(form.call_rules(name, function["name"], schema, terminal))
    return "".join(lines)


def arguments_schema(function: dict[str, Any], param: str) -> dict[str, Any]:
    """Return the schema of a function's arguments, which is always of an object.

    Raises:
        InvalidRequest: if the schema is out of bounds or not a schema of an object.
    """
    schema: dict[str, Any] = function.get("parameters") or {"type": "object", "properties": {}}
    if schema.get("type", "object") != "object":
        raise InvalidRequest(f'{param}: arguments are an object, so the schema\'s type must be "object".', param=param)
    check_schema(schema, param)
    lists_none = schema.get("properties") == {} and not schema.keys() - _LISTING
    return {"type": "object", **schema, **({"additionalProperties": False} if lists_none else {})}


def parameters_field(param: str, at: int) -> str:
    """Return the path of the request's field with the schema of tool number `at`."""
    return f"{param}.{at}.function.parameters"
