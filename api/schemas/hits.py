"""Parts of a chunk that was found."""

from __future__ import annotations

from api.schemas.base import WireAnswer


class Highlight(WireAnswer):
    """A sentence of a hit that answers the query: the characters from `start` to `end` of its `text`."""

    text: str
    start: int
    end: int


class HitPlace(WireAnswer):
    """Another place that has nearly the same text as a hit."""

    document_id: str
    filename: str
    path: str | None
    collection: str
    chunk_index: int
    page: int | None
    section: str | None
