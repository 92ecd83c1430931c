"""The fields of a chat about tools and the format of its answer: `tools`, legacy `functions`, `response_format`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from api.schemas.base import EXTENSION, WireRequest
from core.errors import InvalidRequest
from core.json_schema import check_schema
from core.messages import ToolChoice

MAX_TOOLS = 128
MAX_TOOL_ROUNDS = 32
STRICT = "Refuse a schema that cannot be enforced completely, instead of enforcing what is possible."
#: The names that OpenAI allows for functions and schemas.
Name = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_-]{1,64}\z")]


class FunctionDefinition(WireRequest):
    """A function that the client runs. Without `parameters` it takes no arguments."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = Field(None, description=STRICT)


class Tool(WireRequest):
    type: Literal["function"]
    function: FunctionDefinition


ServerTools = Annotated[list[Name], Field(max_length=MAX_TOOLS)] | Literal["all"]


class FunctionName(WireRequest):
    name: str


class NamedTool(WireRequest):
    """The function that must be called."""

    type: Literal["function"]
    function: FunctionName


class AllowedTools(WireRequest):
    """The tools of which the answer may call some (`auto`), or must call one (`required`)."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1, max_length=MAX_TOOLS)


class AllowedToolsChoice(WireRequest):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoiceObject = Annotated[NamedTool | AllowedToolsChoice, Field(discriminator="type")]


class SchemaDefinition(WireRequest):
    name: Name
    description: str | None = None
    answer_schema: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = Field(None, description=STRICT)


class TextFormat(WireRequest):
    type: Literal["text"]


class ObjectFormat(WireRequest):
    """Any JSON object, or one that matches a schema (as llama.cpp has it)."""

    type: Literal["json_object"]
    answer_schema: dict[str, Any] | None = Field(None, alias="schema", json_schema_extra=EXTENSION)


class SchemaFormat(WireRequest):
    """JSON that matches a schema."""

    type: Literal["json_schema"]
    json_schema: SchemaDefinition


ResponseFormat = Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")]


@dataclass(frozen=True)
class ToolUse:
    """The tools of a request in the form that workers read. If `legacy`, the answer has the form of `functions`."""

    tools: list[dict[str, Any]] = field(default_factory=list)
    server: list[str] | Literal["all"] = field(default_factory=list)
    choice: ToolChoice = "auto"
    name: str | None = None
    parallel: bool = True
    legacy: bool = False
    #: The names of the only tools that may be called; empty: all.
    allowed: list[str] = field(default_factory=list)
    #: The names of the functions whose schemas must be enforced completely.
    strict: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _FieldNames:
    """The names of the request's fields for the functions, for one function, and for the choice."""

    tools: str
    function: str
    choice: str


def tool_use(
    tools: Sequence[Tool] | None,
    choice: str | NamedTool | AllowedToolsChoice | None,
    server: list[str] | Literal["all"],
    *,
    parallel: bool | None = None,
) -> ToolUse:
    """Return the tools of a request that has `tools`, `server_tools` and `tool_choice`.

    Raises:
        InvalidRequest: a function is declared twice, chosen without being declared, or its schema exceeds the limits.
    """
    fields = _FieldNames("tools", "tools.{}.function", "tool_choice")
    if isinstance(choice, AllowedToolsChoice):
        return _allowed_use(tools, choice.allowed_tools, server, parallel=parallel)
    chosen = choice.function if isinstance(choice, NamedTool) else choice
    functions = [tool.function for tool in tools or ()]
    return replace(_use(functions, chosen, server, fields), parallel=parallel is not False)


def _allowed_use(
    tools: Sequence[Tool] | None,
    allowed: AllowedTools,
    server: list[str] | Literal["all"],
    *,
    parallel: bool | None,
) -> ToolUse:
    names = list(dict.fromkeys(tool.function.name for tool in allowed.tools))
    declared = {tool.function.name for tool in tools or ()}
    for name in names:
        if name not in declared and server != "all" and name not in server:
            message = f"'tool_choice' allows the function {name!r}, which is not in 'tools'."
            raise InvalidRequest(message, param="tool_choice.allowed_tools.tools")
    return replace(tool_use(tools, allowed.mode, server, parallel=parallel), allowed=names)


def function_use(
    functions: Sequence[FunctionDefinition] | None,
    choice: str | FunctionName | None,
    server: list[str] | Literal["all"],
) -> ToolUse:
    """Return the tools of a request with legacy `functions` and `function_call`: at most one call at a time.

    Raises:
        InvalidRequest: for the same reasons as `tool_use`.
    """
    fields = _FieldNames("functions", "functions.{}", "function_call")
    return replace(_use(functions or (), choice, server, fields), parallel=False, legacy=True)


def _use(
    functions: Sequence[FunctionDefinition],
    choice: str | FunctionName | None,
    server: list[str] | Literal["all"],
    fields: _FieldNames,
) -> ToolUse:
    name = choice.name if isinstance(choice, FunctionName) else None
    required = name is not None or choice == "required"
    if required and not functions and not server:
        raise InvalidRequest(f"'{fields.choice}' needs '{fields.tools}' or 'server_tools'.", param=fields.choice)
    names = _checked_names(functions, fields.function)
    if name is not None and name not in names and server != "all" and name not in server:
        message = f"'{fields.choice}' names the function {name!r}, which is not in '{fields.tools}'."
        raise InvalidRequest(message, param=fields.choice)
    if choice == "none":
        return ToolUse()
    tools = [_as_tool(function) for function in functions]
    strict = [function.name for function in functions if function.strict]
    return ToolUse(tools, server, "required" if required else "auto", name, strict=strict)


def _checked_names(functions: Sequence[FunctionDefinition], field: str) -> set[str]:
    names: set[str] = set()
    for at, function in enumerate(functions):
        where = field.format(at)
        if function.name in names:
            raise InvalidRequest(f"The function '{function.name}' is declared twice.", param=f"{where}.name")
        names.add(function.name)
        check_schema(function.parameters or {}, f"{where}.parameters")
    return names


def _as_tool(function: FunctionDefinition) -> dict[str, Any]:
    return {
        "type": "function",
        "function": function.model_dump(include={"name", "description", "parameters"}, exclude_none=True),
    }


def answer_schema(form: TextFormat | ObjectFormat | SchemaFormat | None) -> dict[str, Any] | None:
    """Return the schema that the answer must match, or None if it is text.

    Raises:
        InvalidRequest: the schema exceeds the limits.
    """
    if form is None or isinstance(form, TextFormat):
        return None
    if isinstance(form, ObjectFormat):
        if form.answer_schema is None:
            return {"type": "object"}
        check_schema(form.answer_schema, "response_format.schema")
        return {"type": "object", **form.answer_schema}
    schema = form.json_schema.answer_schema
    if schema is None:
        return {"type": "object"}
    check_schema(schema, "response_format.json_schema.schema")
    return schema
