"""The calculator, the clock and the document search, called as a model calls them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from core.errors import Unavailable
from core.messages import Hit
from core.settings import load_settings
from inference.functions import FunctionContext, FunctionResult, function_registry, load_functions

NOW = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    load_functions(load_settings(_env_file=None))


def call(name: str, context: FunctionContext | None = None, **arguments: Any) -> FunctionResult:
    return function_registry.call(name, json.dumps(arguments), context or FunctionContext(now=lambda: NOW))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1200 * 1.19) / 12", 119.0),
        ("0.1 + 0.2", 0.3),
        ("2^3 + 1", 9),
        ("-2 ** 2", -4),
        ("7 // 2 + 7 % 2", 4),
        ("sqrt(2) * sqrt(2)", 2.0),
        ("max(1, 2, min(5, 4))", 4),
        ("gcd(12, 18) + lcm(4, 6)", 18),
        ("factorial(20)", str(2432902008176640000)),
        ("2 ** 100", str(2**100)),
        ("round(pi, 4)", 3.1416),
        ("6 × 7 − 2 ÷ 2", 41.0),
    ],
)
def test_the_calculator_calculates(expression: str, value: Any) -> None:
    assert call("calculate", expression=expression).result == {"expression": expression, "result": value}


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 / 0", "Division by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("factorial(100000)", "factorial takes"),
        ("10.0 ** 400", "too large"),
        ("2.0 ** 5000 * 3", "too large"),
        ("2 ** 4000 * 2 ** 4000", "too large"),
        ("lcm(2 ** 4000, 3 ** 2000)", "too large"),
        ("round(1, -1000000000)", "round takes"),
        ("(-8) ** 0.5", "not a real number"),
        ("sqrt(-1)", "Not defined"),
        ("gcd(1.5, 2)", "takes whole numbers"),
        ("sqrt()", "Not defined"),
        ("1 +", "not an arithmetic expression"),
        ("__import__('os').system('id')", "is not arithmetic"),
        ("().__class__", "is not arithmetic"),
        ("True + 1", "Only numbers"),
        ("'a' * 10", "is not arithmetic"),
        ("[1][0]", "is not arithmetic"),
        ("lambda: 1", "is not arithmetic"),
        ("x", "is not arithmetic"),
        ("1 +" * 400 + "1", "longer than"),
        ("-" * 100 + "1", "nested too deeply"),
        ("(" * 240 + "1" + ")" * 240, "arithmetic"),
        ("", "not an arithmetic expression"),
        ("1\x00", "arithmetic"),
    ],
)
def test_the_calculator_refuses_anything_but_bounded_arithmetic(expression: str, message: str) -> None:
    assert message in (call("calculate", expression=expression).error or "")


def test_the_current_time_is_returned_for_a_time_zone_and_for_a_city() -> None:
    berlin = call("get_current_time", timezone="europe/berlin").result
    assert berlin["datetime"] == "2026-03-28T23:30:00+01:00"
    assert berlin["weekday"] == "Saturday"
    assert call("get_current_time", timezone="New York").result["timezone"] == "America/New_York"
    assert call("get_current_time").result["utc_offset"] == "+0000"


@pytest.mark.parametrize("zone", ["Europe/Berlim", "Mars", "../../etc/passwd", ""])
def test_an_unknown_time_zone_is_reported(zone: str) -> None:
    assert "There is no time zone" in (call("get_current_time", timezone=zone).error or "")


def test_a_misspelt_time_zone_is_reported_with_similar_names() -> None:
    assert "Europe/Berlin" in (call("get_current_time", timezone="Europe/Berlim").error or "").split("Use")[0]


def test_times_are_converted_over_the_date_line_and_with_todays_date() -> None:
    result = call("convert_time", time="09:00", from_timezone="Tokyo", to_timezone="America/Los_Angeles").result
    assert result["from"]["date"] == "2026-03-29", "it is tomorrow already in Tokyo"
    assert result["to"]["datetime"] == "2026-03-28T17:00:00-07:00"
    assert result["difference_hours"] == -16


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ("2026-03-29T02:30", "does not exist in Europe/Berlin"),
        ("half past nine", "is no time"),
        ("25:00", "is no time"),
        ("14.30", "is no time"),
    ],
)
def test_a_time_that_does_not_exist_is_reported(time: str, message: str) -> None:
    error = call("convert_time", time=time, from_timezone="Europe/Berlin", to_timezone="UTC").error
    assert message in (error or "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"date": "2026-01-31", "months": 1}, "2026-02-28"),
        ({"date": "2024-02-29", "years": 1}, "2025-02-28"),
        ({"date": "2026-01-01", "days": -1}, "2025-12-31"),
        ({"date": "2026-01-31", "months": -2, "weeks": 1}, "2025-12-07"),
        ({"date": "2026-W05-6"}, "2026-01-31"),
        ({"date": "2026-01-31T10:00Z"}, "2026-01-31"),
        ({"date": " Today "}, "2026-03-28"),
        ({}, "2026-03-28"),
    ],
)
def test_times_are_added_to_dates(arguments: dict[str, Any], expected: str) -> None:
    assert call("add_to_date", **arguments).result["date"] == expected


@pytest.mark.parametrize("arguments", [{"years": 9000}, {"days": 999_999, "years": 7000}, {"months": -30_000}])
def test_a_date_outside_the_calendar_is_reported(arguments: dict[str, Any]) -> None:
    assert "outside the years" in (call("add_to_date", **arguments).error or "")


def test_the_time_between_dates_is_counted() -> None:
    forward = call("days_between", start="2026-01-01", end="2026-12-31").result
    assert (forward["days"], forward["weeks"], forward["working_days"]) == (364, 52.0, 260)
    backward = call("days_between", start="2026-01-05", end="2026-01-02").result
    assert (backward["days"], backward["working_days"]) == (-3, -1)
    assert "is no date" in (call("days_between", start="soon", end="today").error or "")


class Shelf:
    """A document search with one fixed hit, which records its calls."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str | None]] = []

    def search(self, query: str, top_k: int, collection: str | None) -> Sequence[Hit]:
        self.asked.append((query, top_k, collection))
        if collection == "away":
            raise Unavailable("The index worker does not answer.")
        return [Hit("doc-1", 0, "Two years. " * 500, 0.51234, "warranty.docx", "default", page=2)]


def test_documents_are_searched_through_the_port() -> None:
    shelf = Shelf()
    result = call("search_documents", FunctionContext(documents=shelf), query="warranty", top_k=2).result
    assert shelf.asked == [("warranty", 2, None)]
    (passage,) = result["passages"]
    assert (passage["file"], passage["page"], passage["score"]) == ("warranty.docx", 2, 0.5123)
    assert len(passage["text"]) == 2000


def test_a_search_that_is_not_available_is_reported() -> None:
    away = call("search_documents", FunctionContext(documents=Shelf()), query="x", collection="away")
    assert away.error == "The index worker does not answer."
    assert call("search_documents", query="x").error == "Searching documents is not available here."
    assert "query" in (call("search_documents", FunctionContext(documents=Shelf()), query="").error or "")
