"""A run of the indexer: documents of one placement that are indexed side by side, step by step."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from core.blobs import BlobStore
from core.catalog import LEASE_SECONDS, Catalog, Claim, Document, DocumentState
from ingest.indexing.chunk_files import read_chunks
from ingest.indexing.points import ChunkedDocument, IndexProgress, index_steps
from ingest.vector_store.base import DocumentMeta
from tasks.documents.embedding_models import Placement
from tasks.documents.indexing_schedule import SHORT_CHUNKS, RunState

Embedded = list[int]


class Fenced(Exception):
    """The document was replaced or deleted while it was indexed."""


class IndexRun:
    """Documents that are indexed side by side, in each model of their placement.

    Attributes:
        claims: all of its claims, whose leases are to be kept alive.
        readable: those that it indexes. Documents whose chunks cannot be read are queued to be parsed again, and leave
            the run at its first step.
    """

    def __init__(self, placement: Placement, claims: Sequence[Claim], catalog: Catalog, blobs: BlobStore) -> None:
        self.placement = placement
        self.claims = self.readable = list(claims)
        self._catalog = catalog
        self._blobs = blobs
        self._chunks = sum(claim.document.chunk_count for claim in claims)
        self._documents: list[ChunkedDocument] | None = None
        self._steps = self._write()
        self._progress = IndexProgress()
        self._counts: list[Embedded] = []

    @property
    def state(self) -> RunState:
        """The run's size and how far it is, over all models."""
        return RunState(self._chunks, self._chunks * len(self._counts) + self._progress.chunks, len(self.placement.all))

    def step(self) -> list[tuple[Claim, int, int]] | None:
        """Index one batch. Return None while there is more to do, and at the end the claims to be activated.

        A claim comes with the number of its chunks, and of the texts that were embedded for them.

        Raises:
            Fenced: a run of one document has lost its claim.
        """
        if self._documents is None:
            self._documents = self._read()
        if len(self.readable) == 1 and not self._renew():
            raise Fenced
        try:
            self._progress = next(self._steps)
        except StopIteration:
            embedded = [max(of_each_model) for of_each_model in zip(*self._counts, strict=True)]
            sizes = (len(chunked.chunks) for chunked in self._documents)
            return list(zip(self.readable, sizes, embedded, strict=True))
        return None

    def _write(self) -> Generator[IndexProgress, None, None]:
        for model in self.placement.all:
            steps = index_steps(self._documents or [], embedder=model.service, store=model.store)
            self._counts.append((yield from steps))
            self._progress = IndexProgress()

    def _read(self) -> list[ChunkedDocument]:
        """Read the chunks only now: many long documents may be waiting for their first step."""
        found = [(claim, _read(claim, self._catalog, self._blobs)) for claim in self.claims]
        self.readable = [claim for claim, chunked in found if chunked is not None]
        return [chunked for _, chunked in found if chunked is not None]

    def _renew(self) -> bool:
        """Renew the lease, and record how far the document is."""
        progress = (self._progress.chunks, self._progress.embedded)
        return self._catalog.renew(self.readable[0], LEASE_SECONDS, progress)


def grouped(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Return the claims in groups of at most SHORT_CHUNKS chunks. A document of more chunks is alone."""
    group: list[Claim] = []
    chunks = 0
    for claim in claims:
        if group and chunks + claim.document.chunk_count > SHORT_CHUNKS:
            yield group
            group, chunks = [], 0
        group.append(claim)
        chunks += claim.document.chunk_count
    if group:
        yield group


def document_meta(document: Document) -> DocumentMeta:
    """Return what the points of a document say about it."""
    return DocumentMeta(
        document.id,
        document.generation,
        document.collection_key,
        document.filename,
        document.path,
        document.attributes,
        document.media_type,
    )


def _read(claim: Claim, catalog: Catalog, blobs: BlobStore) -> ChunkedDocument | None:
    """Read the chunks of a document. If they are not there, queue it to be parsed again and return None."""
    document = claim.document
    try:
        chunks = read_chunks(blobs.chunks_path(document.id, document.generation))
    except FileNotFoundError:
        chunks = []
    if len(chunks) != document.chunk_count:
        # The file of chunks is a cache of the original and is not synced to disk.
        catalog.release(claim, DocumentState.QUEUED)
        return None
    return ChunkedDocument(document_meta(document), chunks)
