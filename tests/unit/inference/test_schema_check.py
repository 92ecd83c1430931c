"""What a finished answer violates of its schema, found in bounded work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.grammars import schema_check
from inference.grammars.schema_check import MAX_PROBLEM_CHARACTERS, MAX_PROBLEMS, problems_of


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "array", "uniqueItems": True}, [1, "1", True, [1]], [[1], 2, [1]]),
        ({"not": {"required": ["a"]}}, {"b": 1}, {"a": 1}),
        ({"contains": {"const": 1}}, [2, 1], [2]),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, {"a": 1, "b": 1}, {"a": 1}),
        ({"dependentRequired": {"a": ["b"]}}, {}, {"a": 1}),
        ({"propertyNames": {"maxLength": 2}}, {"ab": 1}, {"abc": 1}),
        ({"not": {"pattern": "^a"}}, "b", "a"),
        ({"pattern": r"^(?=.*\d)[a-z\d]+$"}, "ab1", "abc"),
        ({"pattern": r"^(?<quote>['`]).*\k<quote>$"}, "'a'", "'a`"),
        ({"pattern": r"^(?!\d)"}, "a1", "1a"),
        ({"properties": {"a": {}}, "unevaluatedProperties": False}, {"a": 1}, {"b": 1}),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, {"a": 1, "b": 1}),
        ({"$schema": "http://elsewhere/own", "$id": "http://elsewhere/x", "minimum": 1}, 1, 0),
        ({"minimum": 1, "exclusiveMinimum": True}, 2, 1),
    ],
)
def test_violations_are_found(schema: dict[str, Any], right: Any, wrong: Any) -> None:
    assert problems_of(schema, json.dumps(right)) == []
    (problem,) = problems_of(schema, json.dumps(wrong))
    assert problem.startswith("$")


def test_problems_are_few_and_short() -> None:
    problems = problems_of({"items": {"type": "string", "not": {}}}, json.dumps(["x" * 1000] * 100))
    assert len(problems) == MAX_PROBLEMS
    assert all(len(problem) <= MAX_PROBLEM_CHARACTERS for problem in problems)


def test_a_check_that_would_take_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    branching: dict[str, Any] = {
        "anyOf": [{"items": {"$ref": "#"}, "minItems": 9}, {"items": {"$ref": "#"}, "minItems": 9}]
    }
    deep: Any = []
    for _ in range(60):
        deep = [deep]
    assert problems_of(branching, json.dumps(deep)) == []
    hostile = {"not": {"pattern": "^(a+)+$"}}
    assert problems_of(hostile, json.dumps("a" * 5000 + "!")) == []
    backtracking = {"items": {"pattern": r"(a+)\1(a+)\2(a+)\3(a+)\4b"}}
    assert problems_of(backtracking, json.dumps(["a" * 5000 + "!"] * 50)) == []
    monkeypatch.setattr(schema_check, "MAX_STEPS", 0)
    assert problems_of({"minimum": 1}, "0") == []


def test_text_that_is_no_json_is_a_problem() -> None:
    (problem,) = problems_of({}, "[" * 100_000)
    assert "not JSON" in problem
