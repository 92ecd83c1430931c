"""Filters on the command line: `KEY=VALUE` and other comparisons, or JSON as the API takes it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from cli.client import Json
from core.errors import InvalidRequest

_COMPARISON = re.compile(r"\s*([^=!<>]+?)\s*(>=|<=|!=|=|>|<)\s*(.*?)\s*\Z", re.DOTALL)
_TYPES = {"=": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def filters_of(given: Sequence[str]) -> Json | None:
    """Return a filter that combines all of these with `and`, or None if there are none.

    Raises:
        InvalidRequest: one of them is neither JSON nor a comparison.
    """
    filters = [_parsed(one) for one in given]
    return {"type": "and", "filters": filters} if len(filters) > 1 else filters[0] if filters else None


def value_of(text: str, *, lists: bool = False) -> Any:
    """Return the number, the truth value or, if allowed, the list that the text is in JSON, else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) or (lists and isinstance(value, list)) else text


def _parsed(text: str) -> Json:
    if text.lstrip().startswith("{"):
        try:
            found: Json = json.loads(text)
        except ValueError as error:
            raise InvalidRequest(f"--filter {text}: this is not valid JSON: {error}.", param="filter") from error
        return found
    comparison = _COMPARISON.match(text)
    if comparison is None:
        comparisons = "KEY=VALUE (or !=, <, <=, >, >=; dates as 2024-01-31)"
        message = f"--filter {text}: write {comparisons}, or a filter of the API as JSON."
        raise InvalidRequest(message, param="filter")
    key, operator, value = comparison.groups()
    return {"type": _TYPES[operator], "key": key, "value": value_of(value)}
