"""A run of the indexer: documents of one placement, indexed together in steps of one batch each."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence

from core.blobs import BlobStore
from core.catalog import LEASE_SECONDS, Catalog, Claim, Document, Indexed
from ingest.indexing.chunk_files import read_chunks
from ingest.indexing.points import ChunkedDocument, IndexProgress, index_steps
from ingest.vector_store.base import DocumentMeta
from tasks.documents.embedding_models import Placement
from tasks.documents.indexing_schedule import SHORT_CHUNKS, RunState

log = logging.getLogger(__name__)


class Fenced(Exception):
    """The claim no longer holds, since the document was replaced or deleted while it was indexed."""


class IndexRun:
    """Indexes documents together, in each model of their placement.

    Attributes:
        claims: all claims of the run. The caller keeps their leases alive.
        readable: the claims that are indexed. At the first step, documents whose chunks cannot be read leave the run,
            and are queued to be parsed again.
        numbers: the placement numbers of the claims' collections, by the key of their points.
    """

    def __init__(
        self,
        placement: Placement,
        claims: Sequence[Claim],
        catalog: Catalog,
        blobs: BlobStore,
        numbers: Mapping[str, int],
    ) -> None:
        self.placement = placement
        self.numbers = numbers
        self.claims = self.readable = list(claims)
        self._catalog = catalog
        self._blobs = blobs
        self._chunks = sum(claim.document.chunk_count for claim in claims)
        self._documents: list[ChunkedDocument] | None = None
        self._steps = self._write()
        self._progress = IndexProgress()
        #: For each model that is done, the number of texts that were embedded for each document.
        self._embedded: list[list[int]] = []

    @property
    def state(self) -> RunState:
        """The run's size and its progress over all models."""
        done = self._chunks * len(self._embedded) + self._progress.chunks
        return RunState(self._chunks, done, len(self.placement.all))

    def split(self) -> Iterator[IndexRun]:
        """Yield a run of its own for each document that can be read."""
        for claim in self.readable:
            yield IndexRun(self.placement, [claim], self._catalog, self._blobs, self.numbers)

    def step(self) -> list[Indexed] | None:
        """Index one batch. Return None while there is more to do, and at the end the results to activate.

        Raises:
            Fenced: if the run has one document and its claim no longer holds.
        """
        if self._documents is None:
            self._documents = self._read()
        if len(self.readable) == 1 and not self._renew():
            raise Fenced
        try:
            self._progress = next(self._steps)
        except StopIteration:
            embedded = [max(by_model) for by_model in zip(*self._embedded, strict=True)]
            return list(map(self._indexed, self.readable, self._documents, embedded))
        return None

    def _indexed(self, claim: Claim, chunked: ChunkedDocument, embedded: int) -> Indexed:
        return Indexed(claim, len(chunked.chunks), embedded, self.numbers[claim.document.collection_key])

    def _write(self) -> Generator[IndexProgress, None, None]:
        for model in self.placement.all:
            steps = index_steps(self._documents or [], embedder=model.service, store=model.store)
            self._embedded.append((yield from steps))
            self._progress = IndexProgress()

    def _read(self) -> list[ChunkedDocument]:
        """Read the chunks at the first step, not before, as many long documents may be waiting for theirs."""
        read = [(claim, _read(claim, self._catalog, self._blobs)) for claim in self.claims]
        self.readable = [claim for claim, chunked in read if chunked is not None]
        return [chunked for _, chunked in read if chunked is not None]

    def _renew(self) -> bool:
        """Renew the lease and record the document's progress. Return whether the claim still holds."""
        progress = (self._progress.chunks, self._progress.embedded)
        return self._catalog.renew(self.readable[0], LEASE_SECONDS, progress)


def grouped(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Yield the claims in groups of at most SHORT_CHUNKS chunks. A document of more chunks is alone in its group."""
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
    """Return the fields of a document that its points carry."""
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
    """Return a document with its chunks. If they cannot be read, queue it to be parsed again and return None."""
    document = claim.document
    try:
        chunks = read_chunks(blobs.chunks_path(document.id, document.generation))
    except FileNotFoundError:
        chunks = []
    if len(chunks) != document.chunk_count:
        # The chunk file can be made again from the original, so it is not synced to disk and may be cut.
        log.warning("the chunks of %s are not in %s, so it is parsed again", document.id, blobs.root)
        catalog.parse_again(claim)
        return None
    return ChunkedDocument(document_meta(document), chunks)
