"""The grammar of an answer that may, or must, be tool calls, in llguidance's dialect of Lark. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from core.errors import InvalidRequest
from core.json_schema import check_schema
from inference.call_formats import CallFormat
from inference.schema_dialects import modern
from inference.tool_calls import BARE_START, CLOSE, OPEN

#: `auto`: text in which calls may come up; `required`: calls and nothing else.
ToolMode = Literal["auto", "required"]
#: Most calls of one answer. Small models do not know when to end.
MAX_PARALLEL_CALLS = 8
#: JSON is written as models have seen it most, and never runs away in white space.
JSON_STYLE = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", "}
#: With these, other parts of a schema may allow properties that `properties` does not list.
_COMPOSED = frozenset({"allOf", "anyOf", "oneOf", "$ref", "patternProperties", "additionalProperties"})
_TEXT = "/(.|\\n)*/"


def tool_grammar(
    tools: Sequence[dict[str, Any]],
    *,
    mode: ToolMode,
    parallel: bool,
    answer_schema: dict[str, Any] | None = None,
    param: str = "tools",
    form: CallFormat = CallFormat.TAGGED,
) -> str:
    """Calls of these functions, with arguments that fit their schemas.

    `auto` leaves the model free until it begins a call; from there on the call is enforced. With `answer_schema`, what
    it writes in place of calls is JSON of that schema. A form that has room for one call only is never `parallel`.

    Raises:
        InvalidRequest: if there is no function, or a schema is no schema of an object, or out of bounds.
    """
    if not tools:
        raise InvalidRequest("There is no function to call.", param=param)
    names = [f"call_{at}" for at in range(len(tools))]
    any_of_them, bare = " | ".join(names), form is CallFormat.BARE
    if bare:
        lines = [_bare_start(mode, answer_schema), f"call: ({any_of_them}) {_literal('}')}\n"]
    else:
        body = f'body: "\\n" ({any_of_them}) {_literal("}" + chr(10) + CLOSE)}\n'
        lines = [_start(mode, parallel, answer_schema), body, f"call: {_literal(OPEN)} body\n"]
    for at, (name, tool) in enumerate(zip(names, tools, strict=True)):
        function = tool["function"]
        field = "parameters" if bare else "arguments"
        opening = f'{{"name": {json.dumps(function["name"])}, "{field}": '
        lines.append(f"{name}: {_literal(opening)} {name}_arguments\n")
        lines.append(f"{name}_arguments: %json {json.dumps(arguments_schema(function, parameters_field(param, at)))}\n")
    return "".join(lines)


def _start(mode: ToolMode, parallel: bool, answer_schema: dict[str, Any] | None) -> str:
    more = f' ("\\n" call){{0,{MAX_PARALLEL_CALLS - 1}}}' if parallel else ""
    if mode == "required":
        return f"start: call{more}\n"
    if answer_schema is not None:
        return f"start: calls | answer\ncalls: call{more}\nanswer: %json {json.dumps(styled(answer_schema))}\n"
    # A lazy rule ends as soon as it can: with the first opening tag.
    lazy = f"begin[lazy]: {_TEXT[:-1]}{OPEN}/\n"
    if parallel:
        return f"start: (begin body)* text\ntext: {_TEXT}\n{lazy}"
    return f"start: text | begin body\ntext: {_TEXT}\n{lazy}"


def _bare_start(mode: ToolMode, answer_schema: dict[str, Any] | None) -> str:
    if mode == "required":
        return "start: call\n"
    if answer_schema is not None:
        return f"start: call | answer\nanswer: %json {json.dumps(styled(answer_schema))}\n"
    # Any text but one that begins as a call does: it leaves that path at some character, or ends on it.
    others = [f"{_escaped(BARE_START[:at])}([^{_escaped(BARE_START[at])}](.|\\n)*)?" for at in range(len(BARE_START))]
    return f"start: call | text\ntext: /{'|'.join(others)}/\n"


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
    return styled({"type": "object", **schema, **closed})


def parameters_field(param: str, at: int) -> str:
    """Where the client wrote the schema of tool number `at`."""
    return f"{param}.{at}.function.parameters"


def styled(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as it is compiled, with the way its JSON is to be written."""
    return {**modern(schema), "x-guidance": JSON_STYLE}


def _escaped(text: str) -> str:
    return text.replace("{", "\\{")


def _literal(text: str) -> str:
    return json.dumps(text)
