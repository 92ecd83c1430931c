"""Pieces of grammars in llguidance's dialect of Lark. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from inference.grammars.schema_dialects import modern

#: JSON is written as models have seen it most, and never runs away in white space.
JSON_STYLE = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", "}


def literal(text: str) -> str:
    """Exactly this text."""
    return json.dumps(text)


def token(number: int) -> str:
    """Exactly this token of the vocabulary."""
    return f"<[{number}]>"


def pattern(text: str) -> str:
    """This text, within a regular expression."""
    return re.escape(text).replace("\\\n", "\\n").replace("/", "\\/")


def of_schema(schema: dict[str, Any]) -> str:
    """JSON that fits a schema."""
    return f"%json {json.dumps(styled(schema))}"


def styled(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as it is compiled, with the way its JSON is to be written."""
    return {**modern(schema), "x-guidance": JSON_STYLE}
