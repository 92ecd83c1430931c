"""The chunks around a hit, merged into its text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ingest.retrieval.ranking import Ranked
from ingest.vector_store import VectorStore, point_id
from ingest.vector_store.base import Payload

#: White space between two chunks is not stored; more than a blank line says nothing.
MOST_LINE_BREAKS = 2


class NeighbourExpansion:
    """Widens hits, best first. No chunk is given twice: one that an earlier hit has taken is not a hit of its own."""

    def __init__(self, store: VectorStore, reach: int) -> None:
        """`reach` is the number of chunks before and after a hit that are wanted."""
        self._store = store
        self._reach = reach
        self._taken: set[tuple[str, int]] = set()

    def expand(self, hits: Iterable[Ranked]) -> Iterator[Ranked]:
        """The hits with wider texts, without those that are a part of an earlier one."""
        for hit in hits:
            payload = hit.point.payload
            if (payload["document_id"], payload["chunk_index"]) not in self._taken:
                chunks = self._around(payload)
                self._taken.update((chunk["document_id"], chunk["chunk_index"]) for chunk in chunks)
                wider = {**payload, **_span(chunks)}
                yield replace(hit, point=replace(hit.point, payload=wider))

    def _around(self, payload: Payload) -> list[Payload]:
        """The hit's chunk and those that border on it, in order."""
        document, generation, at = payload["document_id"], payload["generation"], payload["chunk_index"]
        ids = {
            point_id(document, generation, index): index
            for index in range(max(0, at - self._reach), at + self._reach + 1)
            if index != at and (document, index) not in self._taken
        }
        near = {ids[key]: found for key, found in self._store.payloads(list(ids)).items()} | {at: payload}
        first = last = at
        while first - 1 in near:
            first -= 1
        while last + 1 in near:
            last += 1
        return [near[index] for index in range(first, last + 1)]


def _span(chunks: list[Payload]) -> Payload:
    """Text and offsets of chunks that follow one another."""
    text: str = chunks[0]["text"]
    for before, chunk in zip(chunks, chunks[1:], strict=False):
        text = _joined(text, before, chunk)
    known = {"start": chunks[0].get("start"), "end": chunks[-1].get("end")}
    return {"text": text, **{key: value for key, value in known.items() if value is not None}}


def _joined(text: str, before: Payload, chunk: Payload) -> str:
    end, start = before.get("end"), chunk.get("start")
    following: str = chunk["text"]
    if end is None or start is None:
        return f"{text}\n{following}"
    shared: str = following[: max(0, end - start)]
    if shared and text.endswith(shared):
        return f"{text}{following.removeprefix(shared)}"
    breaks: int = max(1, min(start - end, MOST_LINE_BREAKS))
    return text + "\n" * breaks + following
