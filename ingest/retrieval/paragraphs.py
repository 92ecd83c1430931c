"""The stage that finds the rest of the paragraphs that a hit begins or ends in the middle of."""

from __future__ import annotations

import re
from dataclasses import replace

from ingest.retrieval.search import RankedPoint, Search
from ingest.vector_store import point_id
from ingest.vector_store.base import Payload

#: White space of this length may be the blank line between two paragraphs; it is not stored.
LEAST_BREAK = 2
_BLANK_LINE = re.compile(r"\n\s*\n")
#: A row of a table, as a record or with bars, is complete in itself.
_ROW = re.compile(r"[^:;\n]{1,80}: .*; [^:;\n]{1,80}: |\S \| \S")


class CompleteParagraphs:
    """Puts the rest of cut paragraphs beside the text of a hit, if the request asks for it. Reads and sets `ranking`.

    The payload gets `before` and `after`, each with the white space between it and the text.
    """

    def run(self, search: Search) -> Search:
        """Complete the hits when they are read.

        Raises:
            Unavailable: when they are read and the store's server does not answer.
        """
        if not search.options.paragraphs:
            return search
        return replace(search, ranking=map(_completed, search.ranking))


def _completed(hit: RankedPoint) -> RankedPoint:
    payload = hit.point.payload
    document, generation, at = payload["document_id"], payload["generation"], payload["chunk_index"]
    ids = {index: point_id(document, generation, index) for index in (at - 1, at + 1) if index >= 0}
    found = hit.store.payloads(list(ids.values()))
    around = {index: found[key] for index, key in ids.items() if key in found}
    before = _tail(around[at - 1], payload) if at - 1 in around else ""
    after = _beginning(payload, around[at + 1]) if at + 1 in around else ""
    return replace(hit, point=replace(hit.point, payload={**payload, "before": before, "after": after}))


def _tail(before: Payload, chunk: Payload) -> str:
    """Return what the paragraph at the beginning of `chunk` has in the chunk before it."""
    gap = _gap(before, chunk)
    if gap is None:
        return ""
    text = before["text"][: len(before["text"]) + min(gap, 0)]
    return _without_rows(_BLANK_LINE.split(text)[-1] + " " * max(gap, 0))


def _beginning(chunk: Payload, after: Payload) -> str:
    """Return what the paragraph at the end of `chunk` has in the chunk after it."""
    gap = _gap(chunk, after)
    if gap is None:
        return ""
    return _without_rows(" " * max(gap, 0) + _BLANK_LINE.split(after["text"][max(-gap, 0) :])[0])


def _gap(first: Payload, second: Payload) -> int | None:
    """Return the characters between two chunks, negative where they overlap; None if a paragraph ends there."""
    end, start = first.get("end"), second.get("start")
    if end is None or start is None or first.get("section") != second.get("section"):
        return None
    gap: int = start - end
    shared = second["text"][: max(-gap, 0)]
    if gap >= LEAST_BREAK or not first["text"].endswith(shared) or _BLANK_LINE.search(shared):
        return None
    return gap


def _without_rows(text: str) -> str:
    return "" if _ROW.search(text) or not text.strip() else text
