"""The stage that widens the text of a hit by the chunks around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ingest.retrieval.search import RankedPoint, Search
from ingest.vector_store import VectorStore, point_id
from ingest.vector_store.base import Payload

#: White space between two chunks is not stored. More than a blank line between them would carry no information.
MAX_LINE_BREAKS = 2


class AddNeighbours:
    """Merges the chunks around a hit into its text, if the request asks for neighbours. Reads and sets `ranking`."""

    def run(self, search: Search) -> Search:
        """Widen the hits when they are read.

        Raises:
            Unavailable: when they are read and the store's server does not answer.
        """
        reach = search.options.neighbours
        if not reach:
            return search
        return replace(search, ranking=NeighbourExpansion(reach).expand(search.ranking))


class NeighbourExpansion:
    """Widens the hits of one search, best first. A hit that an earlier one has taken up is dropped."""

    def __init__(self, reach: int) -> None:
        """
        Args:
            reach: chunks before and after a hit that are added to it, each.
        """
        self._reach = reach
        self._used: set[tuple[str, int]] = set()

    def expand(self, hits: Iterable[RankedPoint]) -> Iterator[RankedPoint]:
        """Yield the hits with wider texts, without those that are part of an earlier one."""
        for hit in hits:
            payload = hit.point.payload
            if (payload["document_id"], payload["chunk_index"]) not in self._used:
                chunks = self._around(payload, hit.store)
                self._used.update((chunk["document_id"], chunk["chunk_index"]) for chunk in chunks)
                wider = {**payload, **_span(chunks)}
                yield replace(hit, point=replace(hit.point, payload=wider))

    def _around(self, payload: Payload, store: VectorStore) -> list[Payload]:
        """Return the hit's chunk with the unused chunks that follow one another around it, in order."""
        document, generation, at = payload["document_id"], payload["generation"], payload["chunk_index"]
        ids = {
            point_id(document, generation, index): index
            for index in range(max(0, at - self._reach), at + self._reach + 1)
            if index != at and (document, index) not in self._used
        }
        near = {ids[key]: found for key, found in store.payloads(list(ids)).items()} | {at: payload}
        first = last = at
        while first - 1 in near:
            first -= 1
        while last + 1 in near:
            last += 1
        return [near[index] for index in range(first, last + 1)]


def _span(chunks: list[Payload]) -> Payload:
    """Return the text, offsets and pages of chunks that follow one another."""
    text: str = chunks[0]["text"]
    for before, chunk in zip(chunks, chunks[1:], strict=False):
        text = _joined(text, before, chunk)
    pages = [page for chunk in chunks for page in (chunk.get("page"), chunk.get("last_page")) if page is not None]
    known = {
        "start": chunks[0].get("start"),
        "end": chunks[-1].get("end"),
        "page": pages[0] if pages else None,
        "last_page": pages[-1] if pages else None,
        "header": chunks[0].get("header", ""),
    }
    return {"text": text, **{key: value for key, value in known.items() if value is not None}}


def _joined(text: str, before: Payload, chunk: Payload) -> str:
    """Append a chunk to a text that ends with the chunk before it, without repeating their overlap."""
    end, start = before.get("end"), chunk.get("start")
    following: str = chunk["text"]
    if end is None or start is None:
        return f"{text}\n{following}"
    shared: str = following[: max(0, end - start)]
    if shared and text.endswith(shared):
        return f"{text}{following.removeprefix(shared)}"
    breaks: int = max(1, min(start - end, MAX_LINE_BREAKS))
    return text + "\n" * breaks + following
