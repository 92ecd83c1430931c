"""The stages before the vector store: from texts to queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from core.normal_form import normal_form
from ingest.retrieval.query_terms import QueryTerms
from ingest.retrieval.search import Query, Search
from ingest.vector_store import VectorStore
from ingest.vector_store.base import Vector
from ingest.vector_store.sparse import query_terms


class QueryEmbedder(Protocol):
    """The part of `ingest.embedding.service.EmbeddingService` that a search uses."""

    def embed(
        self, texts: Sequence[str], *, purpose: Literal["query"], priority: Literal["interactive"]
    ) -> Iterable[Vector]:
        """Return a vector of length 1 for each text: float32 [len(texts), dimension]."""
        ...


class DropEmptyTexts:
    """Drops texts that ask for nothing, and those that are the same as an earlier one. Reads and sets `texts`.

    Stop words and punctuation alone ask for nothing: some chunk is always nearest to them.
    """

    def run(self, search: Search) -> Search:
        """Keep each text once, in order."""
        return replace(search, texts=[text for text in dict.fromkeys(search.texts) if query_terms(text)])


class PrepareQueries:
    """Embeds the texts and finds their terms. Reads `texts`, sets `queries`."""

    def __init__(self, embedder: QueryEmbedder, store: VectorStore) -> None:
        self._embedder = embedder
        self._store = store

    def run(self, search: Search) -> Search:
        """Make a query of each text; all are embedded together.

        Raises:
            Unavailable: the embedding model is shutting down, or a store server does not answer.
        """
        texts = search.texts
        vectors = (
            self._embedder.embed([normal_form(text) for text in texts], purpose="query", priority="interactive")
            if texts
            else []
        )
        queries = [
            Query(text, vector, QueryTerms.of(text, self._store, search.options.collections))
            for text, vector in zip(texts, vectors, strict=True)
        ]
        return replace(search, queries=queries)
