"""The filters of searches as conditions of a store's client library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.dates import date_span
from core.messages import Filter
from ingest.vector_store.terms import (
    ATTRIBUTES_PREFIX,
    CONTENT_BUCKET,
    TERMS,
    content_bucket,
    date_path,
    number_path,
    term,
)

#: Keys of a filter that are a document's own. All others are attributes.
DOCUMENT_KEYS = frozenset({"document_id", "filename", "path", "type"})


@dataclass(frozen=True)
class Conditions:
    """Builds the conditions of one store from the classes of its client library."""

    filter: Any
    field: Any
    match_value: Any
    match_any: Any
    range: Any

    def scope(self, collections: Sequence[str], filters: Filter | None) -> Any:
        """Return the condition that limits a search, or None if nothing limits it."""
        conditions = [self._any_of(TERMS, (term("collection", key) for key in collections))] if collections else []
        if filters is not None:
            conditions.append(self._condition(filters))
        return self.filter(must=conditions) if conditions else None

    def of_document(self, document_id: str) -> Any:
        """Return the condition for all points of a document."""
        return self.filter(must=self._of_documents([document_id]))

    def of_documents(self, document_ids: Sequence[str]) -> Any:
        """Return the condition for all points of documents."""
        return self.filter(must=self._of_documents(document_ids))

    def of_collections(self, collections: Sequence[str]) -> Any:
        """Return the condition for all points of collections."""
        terms = (term("collection", key) for key in collections)
        return self.filter(must=[self._any_of(TERMS, terms), self._any_of("collection", collections)])

    def of_generation(self, document_id: str, generation: int) -> Any:
        """Return the condition for the points of one generation of a document."""
        return self.filter(must=[*self._of_documents([document_id]), self._equals("generation", generation)])

    def of_earlier_generations(self, document_id: str, generation: int) -> Any:
        """Return the condition for a document's points of all generations before this one."""
        earlier = self.field(key="generation", range=self.range(lt=generation))
        return self.filter(must=[*self._of_documents([document_id]), earlier])

    def of_contents(self, hashes: Sequence[str]) -> Any:
        """Return the condition for the points with these content hashes."""
        buckets = {content_bucket(content_hash) for content_hash in hashes}
        return self.filter(must=[self._any_of(CONTENT_BUCKET, sorted(buckets)), self._any_of("content_hash", hashes)])

    def _of_documents(self, document_ids: Sequence[str]) -> list[Any]:
        terms = (term("document_id", document_id) for document_id in document_ids)
        # The index finds the points by the term, then the payload decides, so that a hash collision deletes nothing.
        return [self._any_of(TERMS, terms), self._any_of("document_id", document_ids)]

    def _condition(self, filters: Filter) -> Any:
        match filters.type:
            case "and":
                return self.filter(must=[self._condition(item) for item in filters.filters])
            case "or":
                return self.filter(should=[self._condition(item) for item in filters.filters])
            case "eq" | "in":
                return self._has(filters)
            case "ne" | "nin":
                return self.filter(must_not=[self._has(filters)])
        return self._by_size(filters)

    def _by_size(self, filters: Filter) -> Any:
        attribute = attribute_name(filters.key)
        if not isinstance(filters.value, str):
            return self.field(key=number_path(attribute), range=self.range(**{filters.type: filters.value}))
        span = date_span(filters.value)
        if span is None:
            raise ValueError(f"{filters.value!r} is not a date")
        return self.field(key=date_path(attribute), range=self.range(**_range_of(filters.type, *span)))

    def _has(self, filters: Filter) -> Any:
        values = filters.value if isinstance(filters.value, list) else [filters.value]
        if filters.key in DOCUMENT_KEYS:
            return self._any_of(TERMS, (term(filters.key, str(value)) for value in values))
        key = ATTRIBUTES_PREFIX + attribute_name(filters.key)
        return self._any_of(TERMS, (term(key, value) for value in values))

    def _equals(self, key: str, value: int) -> Any:
        return self.field(key=key, match=self.match_value(value=value))

    def _any_of(self, key: str, values: Iterable[str] | Iterable[int]) -> Any:
        return self.field(key=key, match=self.match_any(any=list(values)))


def _range_of(comparison: str, start: float, end: float) -> dict[str, float]:
    """Return the bounds of a comparison with a span of time. A day is at most a day if it begins before its end."""
    if start == end or comparison in ("gte", "lt"):
        return {comparison: start}
    return {"gte": end} if comparison == "gt" else {"lt": end}


def attribute_name(key: str) -> str:
    """Return the name of the attribute that a filter's key refers to."""
    return key.removeprefix(ATTRIBUTES_PREFIX)
