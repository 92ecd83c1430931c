"""Search in the ingested documents."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from core.messages import Hit
from inference.functions.context import FunctionContext
from inference.functions.errors import FunctionError
from inference.functions.registry import function_registry

#: The text of each chunk is cut at this length, because several chunks share the prompt.
MAX_TEXT_CHARACTERS = 2000


@function_registry.register
def search_documents(
    context: FunctionContext,
    query: Annotated[str, Field(min_length=1, max_length=2000)],
    top_k: Annotated[int, Field(ge=1, le=20)] = 3,
    collection: str | None = None,
) -> dict[str, Any]:
    """Search the user's own documents and return the passages that fit best, with file and page.

    Args:
        query: What to look for, as a question or as keywords.
        top_k: How many passages to return.
        collection: Name of the collection to search; all of them when left out.
    """
    if context.documents is None:
        raise FunctionError("Searching documents is not available here.")
    hits = context.documents.search(query, top_k, collection)
    return {"query": query, "passages": [_passage(hit) for hit in hits]}


def _passage(hit: Hit) -> dict[str, Any]:
    passage = {
        "file": hit.filename,
        "page": hit.page,
        "last_page": hit.last_page if hit.last_page != hit.page else None,
        "section": hit.section,
        "collection": hit.collection,
        "score": round(hit.score, 4),
        "text": hit.text[:MAX_TEXT_CHARACTERS],
    }
    return {key: value for key, value in passage.items() if value is not None}
