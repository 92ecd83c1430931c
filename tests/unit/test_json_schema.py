"""The bounds on the JSON schemas that clients send."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import InvalidRequest
from core.json_schema import MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH, MAX_SCHEMA_PROPERTIES, check_schema


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


def listed(count: int) -> dict[str, Any]:
    return {"properties": {f"p{at}": {} for at in range(count)}}


def test_schemas_within_bounds_pass() -> None:
    check_schema({"$ref": "#/$defs/a", "$defs": {"a": {}}, "description": "x" * (MAX_SCHEMA_BYTES - 100)}, "f")
    check_schema(nested(MAX_SCHEMA_DEPTH - 1), "f")
    check_schema(listed(MAX_SCHEMA_PROPERTIES), "f")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"description": "x" * MAX_SCHEMA_BYTES}, "larger than 65536 bytes"),
        (nested(MAX_SCHEMA_DEPTH), "more than 32 levels"),
        (nested(500), "more than 32 levels"),
        (listed(MAX_SCHEMA_PROPERTIES + 1), "257 properties"),
        ({"items": [{"$ref": "http://elsewhere/x"}]}, "leaves the schema"),
    ],
)
def test_schemas_out_of_bounds_are_refused_by_name(schema: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        check_schema(schema, "field")
    assert refused.value.param == "field"
