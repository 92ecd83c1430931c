"""The forms of answers that clients ask for outside of `response_format`: the fields of vLLM and of llama.cpp."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from api.schemas.base import EXTENSION, WireRequest
from core.errors import InvalidRequest
from core.json_schema import check_schema

MAX_CHOICE_TEXTS = 1000
MAX_PATTERN_CHARACTERS = 16_384
#: Characters with a meaning in the regular expressions of grammars.
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$#&~-]")
#: Fields whose grammars this server cannot enforce.
UNSUPPORTED_FORMATS = ("grammar", "guided_grammar", "guided_whitespace_pattern")


@dataclass(frozen=True)
class AnswerFormat:
    """The schema of an answer's JSON, or the regular expression of its text, and the request's field that has it."""

    param: str
    schema: dict[str, Any] | None = None
    pattern: str | None = None
    #: Whether the schema must be enforced completely.
    strict: bool = False


def format_fields(form: AnswerFormat | None) -> dict[str, Any]:
    """Return the fields of a job's request that say which format the answer has."""
    if form is None:
        return {}
    return {
        "answer_schema": form.schema,
        "strict_answer": form.strict,
        "answer_pattern": form.pattern,
        "format_param": form.param,
    }


class FormatFields(WireRequest):
    """Extensions: the answer is JSON of a schema, one of several texts, or a text that a regular expression matches."""

    guided_json: Any = Field(None, json_schema_extra=EXTENSION)
    guided_choice: Any = Field(None, json_schema_extra=EXTENSION)
    guided_regex: Any = Field(None, json_schema_extra=EXTENSION)
    structured_outputs: Any = Field(
        None,
        description="Extension: an object with one of 'json', 'json_object', 'choice' and 'regex'.",
        json_schema_extra=EXTENSION,
    )
    json_schema: Any = Field(None, json_schema_extra=EXTENSION)
    grammar: Any = Field(None, description="Refused.")
    guided_grammar: Any = Field(None, description="Refused.")
    guided_whitespace_pattern: Any = Field(None, description="Refused.")

    def formats(self) -> list[AnswerFormat]:
        """Return the formats that these fields ask for.

        Raises:
            InvalidRequest: one cannot be enforced, or is none.
        """
        for name in UNSUPPORTED_FORMATS:
            if getattr(self, name) is not None:
                raise _refused(name)
        given: dict[str, tuple[str, Any]] = {
            "guided_json": ("json", self.guided_json),
            "guided_choice": ("choice", self.guided_choice),
            "guided_regex": ("regex", self.guided_regex),
            "json_schema": ("json", self.json_schema),
        }
        if self.structured_outputs is not None:
            if not isinstance(self.structured_outputs, dict):
                raise InvalidRequest("'structured_outputs' must be an object.", param="structured_outputs")
            given |= {f"structured_outputs.{kind}": (kind, value) for kind, value in self.structured_outputs.items()}
        return [_format(kind, value, param) for param, (kind, value) in given.items() if value not in (None, False)]


def only_format(formats: list[AnswerFormat]) -> AnswerFormat | None:
    """Return the format of a request, or None if it has none.

    Raises:
        InvalidRequest: there is more than one.
    """
    if len(formats) > 1:
        names = ", ".join(repr(one.param) for one in formats)
        raise InvalidRequest(f"{names}: an answer can have one format only.", param=formats[1].param)
    return formats[0] if formats else None


def _format(kind: str, value: Any, param: str) -> AnswerFormat:
    if kind == "json":
        return AnswerFormat(param, schema=_schema(value, param))
    if kind == "json_object":
        return AnswerFormat(param, schema={"type": "object"})
    if kind == "choice":
        return AnswerFormat(param, pattern=_alternatives(value, param))
    if kind == "regex":
        if not isinstance(value, str) or not 0 < len(value) <= MAX_PATTERN_CHARACTERS:
            message = f"'{param}' must be a regular expression of at most {MAX_PATTERN_CHARACTERS} characters."
            raise InvalidRequest(message, param=param)
        return AnswerFormat(param, pattern=value)
    raise _refused(param)


def _schema(value: Any, param: str) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"'{param}' is not JSON: {error}", param=param) from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"'{param}' must be a JSON schema.", param=param)
    check_schema(value, param)
    return value


def _alternatives(value: Any, param: str) -> str:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CHOICE_TEXTS or not all(map(_is_text, value)):
        message = f"'{param}' must be a list of at most {MAX_CHOICE_TEXTS} texts, none of them empty."
        raise InvalidRequest(message, param=param)
    pattern = "|".join(_SPECIAL.sub(r"\\\g<0>", text) for text in value)
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise InvalidRequest(f"'{param}' has more than {MAX_PATTERN_CHARACTERS} characters in all.", param=param)
    return pattern


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _refused(param: str) -> InvalidRequest:
    return InvalidRequest(
        f"'{param}' is not supported. Use 'response_format' with a JSON schema, 'guided_regex' or 'guided_choice'.",
        param=param,
        code="unsupported_parameter",
    )
