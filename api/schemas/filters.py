"""Filters on documents' attributes, in the format of OpenAI's vector store search."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from api.schemas.base import WireRequest
from core import messages
from core.dates import DATE_FORMS, date_span

MAX_KEY_CHARACTERS = 128
MAX_VALUES = 256
MAX_FILTERS = 64
MAX_DEPTH = 8
#: Values of a whole filter: for each, the index worker computes a hash.
MAX_VALUES_IN_ALL = 1024
#: The longest path of a file system.
MAX_VALUE_CHARACTERS = 4096

Key = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_KEY_CHARACTERS,
        description="The name of an attribute, or `document_id`, `filename`, `path` or `type` of the document itself.",
    ),
]
#: Whole numbers that are compared exactly.
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Value = Annotated[str, Field(max_length=MAX_VALUE_CHARACTERS)] | bool | Whole | float


class _Comparison(WireRequest):
    key: Key

    def message(self) -> messages.Filter:
        """Return the filter in the form that workers read."""
        return messages.Filter(self.type, self.key, self.value)  # type: ignore[attr-defined]


class EqualityFilter(_Comparison):
    """Compares for equality. A document without the attribute is not equal to any value; a list is equal to each of its
    elements."""

    type: Literal["eq", "ne"]
    value: Value

    @field_validator("value", mode="before")
    @classmethod
    def _is_one_value(cls, value: object) -> object:
        if isinstance(value, list):
            raise ValueError("one value, not a list; to compare with several, use 'in' or 'nin'")
        return value


class OrderFilter(_Comparison):
    """Compares numbers by size, and dates by time."""

    type: Literal["gt", "gte", "lt", "lte"]
    value: float | Annotated[str, Field(description=f"A date, as {DATE_FORMS}; without a zone in UTC.")]

    @field_validator("key")
    @classmethod
    def _has_numbers(cls, value: str) -> str:
        if value in ("document_id", "filename", "path", "type"):
            message = f"{value!r} is text, and only numbers and dates can be compared by size; use eq, ne, in or nin"
            raise ValueError(message)
        if '"' in value or "\\" in value:
            message = "attributes with a quotation mark or a backslash in their name only support eq, ne, in and nin"
            raise ValueError(message)
        return value

    @field_validator("value", mode="before")
    @classmethod
    def _is_number_or_date(cls, value: object) -> object:
        if isinstance(value, str) and date_span(value) is None:
            raise ValueError(f"{value[:80]!r} is not a date; write {DATE_FORMS}, or a number without quotation marks")
        return value


class MembershipFilter(_Comparison):
    type: Literal["in", "nin"]
    value: list[Value] = Field(min_length=1, max_length=MAX_VALUES)


class CompoundFilter(WireRequest):
    type: Literal["and", "or"]
    filters: list[Filter] = Field(min_length=1, max_length=MAX_FILTERS)

    @model_validator(mode="after")
    def _small_enough(self) -> CompoundFilter:
        if _depth(self) > MAX_DEPTH:
            raise ValueError(f"'filters' are nested more than {MAX_DEPTH} levels deep")
        if (count := _value_count(self)) > MAX_VALUES_IN_ALL:
            raise ValueError(f"'filters' have {count} values in all; {MAX_VALUES_IN_ALL} are allowed")
        return self

    def message(self) -> messages.Filter:
        """Return the filter in the form that workers read."""
        return messages.Filter(self.type, filters=[item.message() for item in self.filters])


Filter = Annotated[EqualityFilter | OrderFilter | MembershipFilter | CompoundFilter, Field(discriminator="type")]


def _depth(one: EqualityFilter | OrderFilter | MembershipFilter | CompoundFilter) -> int:
    return 1 + max(map(_depth, one.filters)) if isinstance(one, CompoundFilter) else 1


def _value_count(one: EqualityFilter | OrderFilter | MembershipFilter | CompoundFilter) -> int:
    if isinstance(one, CompoundFilter):
        return sum(map(_value_count, one.filters))
    return len(one.value) if isinstance(one, MembershipFilter) else 1
