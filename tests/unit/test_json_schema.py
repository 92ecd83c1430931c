"""The bounds on the JSON schemas that clients send."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import InvalidRequest
from core.json_schema import (
    MAX_COUNTS,
    MAX_PATTERN_CHARACTERS,
    MAX_SCHEMA_BYTES,
    MAX_SCHEMA_DEPTH,
    MAX_SCHEMA_PROPERTIES,
    MAX_SCHEMA_REFERENCES,
    check_schema,
)


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


def listed(count: int) -> dict[str, Any]:
    return {"properties": {f"p{at}": {} for at in range(count)}}


def test_schemas_within_bounds_pass() -> None:
    check_schema({"$ref": "#/$defs/a", "$defs": {"a": {}}, "description": "x" * (MAX_SCHEMA_BYTES - 100)}, "f")
    check_schema(nested(MAX_SCHEMA_DEPTH - 1), "f")
    check_schema(listed(MAX_SCHEMA_PROPERTIES), "f")
    check_schema({"properties": {"minItems": {"const": 9999}, "pattern": {"maxLength": 10**9}}, **MAX_COUNTS}, "f")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"description": "x" * MAX_SCHEMA_BYTES}, "larger than 65536 bytes"),
        (nested(MAX_SCHEMA_DEPTH), "more than 32 levels"),
        (nested(500), "more than 32 levels"),
        (listed(MAX_SCHEMA_PROPERTIES + 1), "257 properties"),
        ({"patternProperties": {str(at): {} for at in range(33)}}, "33 patternProperties; at most 32"),
        ({"items": [{"$ref": "http://elsewhere/x"}]}, "leaves the schema"),
        ({"items": [{"$dynamicRef": "#x"}]}, r"\$dynamicRef is not supported"),
        ({"anyOf": [{"$ref": "#/$defs/a"}] * (MAX_SCHEMA_REFERENCES + 1)}, "513 references; at most 512"),
        ({"items": {"pattern": "a" * (MAX_PATTERN_CHARACTERS + 1)}}, "pattern has 2049 characters; at most 2048"),
        *(
            ({"properties": {"a": {name: most + 1}}}, f"{name} is {most + 1}; at most {most} is allowed")
            for name, most in MAX_COUNTS.items()
        ),
        ({"minItems": 1e300}, "minItems is 1e\\+300"),
    ],
)
def test_schemas_out_of_bounds_are_refused_by_name(schema: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        check_schema(schema, "field")
    assert refused.value.param == "field"
