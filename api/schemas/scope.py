"""Where and how to search: shared by search, RAG chat and the `rag` of chat completions."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.schemas.base import CollectionName, Collections, WireRequest
from api.schemas.filters import Filter


class Scope(WireRequest):
    """Where to search: all collections unless some are named."""

    collection: CollectionName | None = None
    collections: Collections | None = None
    score_threshold: float | None = Field(None, ge=-1, le=1, description="Least dense cosine of a hit.")
    filters: Filter | None = Field(None, description="Only documents that it holds for.")
    diversity: float | None = Field(
        None, ge=0, le=1, description="How much a hit's likeness to better ones counts against it."
    )
    neighbours: int | None = Field(
        None, ge=0, le=5, description="Chunks before and after a hit that are merged into its text."
    )
    rerank: bool | None = Field(None, description="By the server's cross-encoder; where there is one, it is used.")

    def names(self) -> list[str]:
        """The collections, each once."""
        named = [*([self.collection] if self.collection else []), *(self.collections or [])]
        return list(dict.fromkeys(named))

    def options(self) -> dict[str, Any]:
        """The fields of `core.messages.SearchOptions` that are named here."""
        filters = self.filters.message() if self.filters else None
        return {
            "collections": self.names(),
            "score_threshold": self.score_threshold,
            "filters": filters,
            "diversity": self.diversity or 0.0,
            "neighbours": self.neighbours or 0,
            "rerank": self.rerank,
        }
