"""Turns a Python function's signature and docstring into what a model needs: a description and a JSON schema."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError

from inference.functions.context import FunctionContext
from inference.functions.docstrings import parse_docstring
from inference.functions.errors import FunctionDefinitionError

#: OpenAI's rule for function names.
NAME_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Signature:
    """How a function is called: `model` validates the arguments, `fields` maps its fields to the parameters' names."""

    description: str
    parameters: dict[str, Any]
    model: type[BaseModel]
    fields: dict[str, str]
    context_parameter: str | None

    def bind(self, arguments: dict[str, Any], context: FunctionContext) -> dict[str, Any]:
        """Return validated keyword arguments.

        Raises:
            ValidationError: naming each wrong argument.
        """
        validated = self.model.model_validate(arguments)
        keywords = {name: getattr(validated, field) for field, name in self.fields.items()}
        if self.context_parameter is not None:
            keywords[self.context_parameter] = context
        return keywords


def inspect_function(function: Callable[..., Any], name: str) -> Signature:
    """Read a function's signature and docstring.

    Raises:
        FunctionDefinitionError: if an argument has no annotation, or one that JSON cannot express.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise FunctionDefinitionError(f"{name!r} is no name for a function: 1 to 64 of A-Z, a-z, 0-9, _ and -.")
    description, documented = parse_docstring(inspect.getdoc(function) or "")
    hints = _hints(function, name)
    definitions: dict[str, Any] = {}
    fields: dict[str, str] = {}
    context_parameter = None
    for parameter in inspect.signature(function).parameters.values():
        annotation = _annotation(parameter, hints, name)
        if annotation is FunctionContext:
            context_parameter = parameter.name
            continue
        # Fields get neutral names, because a pydantic model cannot have fields such as `schema` or `_x`.
        field = f"argument_{len(fields)}"
        fields[field] = parameter.name
        definitions[field] = _definition(parameter, annotation, documented.get(parameter.name))
    model = _build_model(name, definitions)
    return Signature(description or name.replace("_", " "), _json_schema(model, name), model, fields, context_parameter)


def describe_problems(error: ValidationError) -> str:
    """Return the wrong arguments on one line, so that a model can correct them."""
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in problem["loc"]) or "arguments"
        problems.append(f"{where}: {problem['msg']}")
    return "; ".join(problems)


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise FunctionDefinitionError(f"{name}: its annotations cannot be read: {error}") from error


def _annotation(parameter: inspect.Parameter, hints: dict[str, Any], name: str) -> Any:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise FunctionDefinitionError(f"{name}: a model names its arguments, so {parameter} cannot be filled.")
    if parameter.name not in hints:
        raise FunctionDefinitionError(
            f"{name}: annotate {parameter.name} with a type, such as `{parameter.name}: str`."
        )
    return hints[parameter.name]


def _definition(parameter: inspect.Parameter, annotation: Any, description: str | None) -> tuple[Any, Any]:
    default = ... if parameter.default is parameter.empty else parameter.default
    return Annotated[annotation, Field(alias=parameter.name, description=description)], default


def _build_model(name: str, definitions: dict[str, Any]) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    try:
        return create_model(name, __config__=config, **definitions)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise FunctionDefinitionError(f"{name}: an argument's type has no JSON form: {error.message}") from error


def _json_schema(model: type[BaseModel], name: str) -> dict[str, Any]:
    try:
        schema = model.model_json_schema(by_alias=True)
    except PydanticUserError as error:
        raise FunctionDefinitionError(f"{name}: an argument's type has no JSON form: {error.message}") from error
    schema.setdefault("properties", {})
    return _without_titles(schema)


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """Remove pydantic's generated titles, which repeat the names and cost tokens of the prompt."""
    cleaned: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in ("properties", "$defs") and isinstance(value, dict):
            cleaned[key] = {name: _without_titles(inner) for name, inner in value.items()}
        elif isinstance(value, dict) and key not in ("default", "const"):
            cleaned[key] = _without_titles(value)
        elif isinstance(value, list) and key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            cleaned[key] = [_without_titles(inner) if isinstance(inner, dict) else inner for inner in value]
        else:
            cleaned[key] = value
    return cleaned
