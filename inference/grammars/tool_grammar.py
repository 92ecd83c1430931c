"""The grammar of an answer that may, or must, be tool calls, in llguidance's dialect of Lark. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.errors import InvalidRequest
from core.json_schema import check_schema
from inference.grammars.call_formats import Asked, CallFormat

#: With these, other parts of a schema may allow properties that `properties` does not list.
_COMPOSED = frozenset({"allOf", "anyOf", "oneOf", "$ref", "patternProperties", "additionalProperties"})


def tool_grammar(
    tools: Sequence[dict[str, Any]],
    asked: Asked,
    form: CallFormat,
    *,
    param: str = "tools",
    first_control: int | None = None,
) -> str:
    """Calls of these functions, with arguments that fit their schemas.

    `auto` leaves the model free until it begins a call; from there on the call is enforced. With an `answer_schema`,
    what it writes in place of calls is JSON of that schema. A form that has room for one call only is never parallel.
    The grammar is over the model's vocabulary, or over one where control tokens begin at `first_control`.

    Raises:
        InvalidRequest: if there is no function, or a schema is no schema of an object, or out of bounds.
    """
    if not tools:
        raise InvalidRequest("There is no function to call.", param=param)
    spell = form.speller(first_control)
    names = [f"call_{at}" for at in range(len(tools))]
    lines = [form.rules(asked, spell), f"any_call: {' | '.join(names)}\n"]
    for at, (name, tool) in enumerate(zip(names, tools, strict=True)):
        function = tool["function"]
        schema = arguments_schema(function, parameters_field(param, at))
        lines.append(form.call_rules(name, function["name"], schema, spell))
    return "".join(lines)


def arguments_schema(function: dict[str, Any], param: str) -> dict[str, Any]:
    """The schema of a function's arguments: always of an object, and closed where it lists its properties.

    Raises:
        InvalidRequest: if it is no schema of an object, or out of bounds.
    """
    schema: dict[str, Any] = function.get("parameters") or {"type": "object", "properties": {}}
    if schema.get("type", "object") != "object":
        raise InvalidRequest(f"{param}: arguments are an object, so this must be a schema of one.", param=param)
    check_schema(schema, param)
    closed = {"additionalProperties": False} if "properties" in schema and not _COMPOSED & schema.keys() else {}
    return {"type": "object", **schema, **closed}


def parameters_field(param: str, at: int) -> str:
    """Where the client wrote the schema of tool number `at`."""
    return f"{param}.{at}.function.parameters"
