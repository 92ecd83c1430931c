"""The search options that search, RAG chat and the `rag` of chat completions share."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.schemas.base import CollectionName, Collections, WireRequest
from api.schemas.filters import Filter
from core.errors import InvalidRequest


class Scope(WireRequest):
    """Search options. All collections are searched unless some are named."""

    collection: CollectionName | None = None
    collections: Collections | None = None
    score_threshold: float | None = Field(None, ge=-1, le=1, description="Lowest cosine similarity of a hit.")
    filters: Filter | None = Field(None, description="Search only documents that match this filter.")
    diversity: float | None = Field(
        None, ge=0, le=1, description="How strongly a hit that resembles better hits is ranked lower."
    )
    neighbours: int | None = Field(
        None, ge=0, le=5, description="How many chunks before and after a hit are merged into its text."
    )
    rerank: bool | None = Field(
        None, description="Rerank by the server's cross-encoder (default: if RERANK_MODEL is set)."
    )

    def names(self) -> list[str]:
        """Return the named collections, each once."""
        named = [*([self.collection] if self.collection else []), *(self.collections or [])]
        return list(dict.fromkeys(named))

    def options_within(self, collection: str | None, param: str = "collection") -> dict[str, Any]:
        """Return `options`, within the collection that the request's `model` names, if it names one.

        Raises:
            InvalidRequest: the request names other collections too.
        """
        options = self.options()
        if collection is not None:
            if options["collections"] not in ([], [collection]):
                message = f"'model' names the collection {collection!r}, but '{param}' names others."
                raise InvalidRequest(message, param=param)
            options["collections"] = [collection]
        return options

    def options(self) -> dict[str, Any]:
        """Return the fields of `core.messages.SearchOptions` that this model has."""
        filters = self.filters.message() if self.filters else None
        return {
            "collections": self.names(),
            "score_threshold": self.score_threshold,
            "filters": filters,
            "diversity": self.diversity or 0.0,
            "neighbours": self.neighbours or 0,
            "rerank": self.rerank,
        }
