"""Builds parts of grammars in llguidance's dialect of Lark. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from inference.grammars.schema_dialects import modern

#: Separators as models have seen them most often; no other white space, which a model could write without end. What a
#: grammar cannot enforce becomes a warning.
JSON_STYLE = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", ", "lenient": True}


def literal(text: str) -> str:
    """Return a terminal that matches exactly this text."""
    return json.dumps(text)


def token(number: int) -> str:
    """Return a terminal that matches exactly this token of the vocabulary."""
    return f"<[{number}]>"


def pattern(text: str) -> str:
    """Return this text, escaped for a regular expression."""
    return re.escape(text).replace("\\\n", "\\n").replace("/", "\\/")


def of_schema(schema: dict[str, Any]) -> str:
    """Return a rule that matches JSON of a schema."""
    return f"%json {json.dumps(styled(schema))}"


def styled(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema to compile, which also says how its JSON is formatted."""
    return {**modern(schema), "x-guidance": JSON_STYLE}
