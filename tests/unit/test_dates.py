"""Dates in filters and attributes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.dates import date_span


def seconds(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024-02-28", (2024, 2, 28), (2024, 2, 29)),
        ("2024-12", (2024, 12, 1), (2025, 1, 1)),
        ("2024-01-31T09:30:00Z", (2024, 1, 31, 9, 30), (2024, 1, 31, 9, 30)),
        ("2024-01-31 09:30", (2024, 1, 31, 9, 30), (2024, 1, 31, 9, 30)),
        ("2024-01-31T09:30:00+02:00", (2024, 1, 31, 7, 30), (2024, 1, 31, 7, 30)),
        ("2024-01-31T09:30:00.000-0130", (2024, 1, 31, 11, 0), (2024, 1, 31, 11, 0)),
    ],
)
def test_a_date_is_a_span_of_time(text: str, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    assert date_span(text) == (seconds(*start), seconds(*end))


@pytest.mark.parametrize(
    "text", ["", "2024", "soon", "2024-13", "2024-02-30", "2024-1-1", "9999-12-31", "٢٠٢٤-٠١-٠١", "0000-01"]
)
def test_other_texts_are_no_dates(text: str) -> None:
    assert date_span(text) is None


def test_parts_of_a_second_count() -> None:
    assert date_span("2024-01-31T09:30:00.5Z") == (seconds(2024, 1, 31, 9, 30) + 0.5,) * 2
