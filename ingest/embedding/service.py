"""Embeds for the threads of a process: one computes what someone waits for, and others, at low priority, the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from core.bulk_work import BulkWork
from ingest.embedding.embedding_threads import EmbeddingThreads
from ingest.embedding.micro_batches import Rank, TextRequest, Vectors
from ingest.embedding.prompts import Purpose

if TYPE_CHECKING:
    from ingest.embedding.embedder import Embedder

Priority = Literal["interactive", "bulk"]
Result = TypeVar("Result")

#: Each thread has a tokenizer of its own in memory.
MOST_BULK_THREADS = 4


class EmbeddingService:
    """Embeds for many threads. It must be closed before the process ends.

    Attributes:
        embedder: the model.
    """

    def __init__(self, embedder: Embedder, *, cores: int = 1, bulk: BulkWork | None = None) -> None:
        """
        Args:
            cores: on how many texts are embedded.
            bulk: the priority of bulk work, which takes only the processor time that searches, and other processes
                such as the one that generates answers, leave. Without it, all work has the same priority.
        """
        self.embedder = embedder
        # A query is computed by all cores together. Bulk texts are shared out among threads: those need not wait for
        # one another, which is faster, most of all where they get a core only now and then.
        threads = self._bulk_threads = min(cores, MOST_BULK_THREADS)
        self._interactive = EmbeddingThreads("embedding", [embedder], cores=cores)
        self._bulk = EmbeddingThreads(
            "bulk-embedding",
            [embedder.twin() for _ in range(threads)],
            cores=cores // threads,
            bulk=bulk,
        )

    def embed(self, texts: Sequence[str], purpose: Purpose = "plain", priority: Priority = "interactive") -> Vectors:
        """Embed texts and wait for the result.

        Args:
            texts: the model reads a text up to the end of its window.
            purpose: chooses the model's prompt, if it has one.
            priority: the shorter "interactive" requests are computed before the longer ones; "bulk" is computed beside
                them, in the processor time that they leave.

        Returns:
            float32 of shape [len(texts), dimension]; each row has length 1.

        Raises:
            Unavailable: the service is closed, or was closed while the texts waited.
            Exception: any error of the model on these texts.
        """
        # Counted and cut by this thread, while the embedding thread computes.
        parts = [self.embedder.part_read(text) for text in texts]
        read, tokens = [part for part, _ in parts], [count for _, count in parts]
        request = TextRequest(read, tokens, purpose, self.embedder.dimension)
        if not request.texts:
            return request.vectors
        rank: Rank = "bulk" if priority == "bulk" else "short" if request.is_short else "long"
        (self._bulk if rank == "bulk" else self._interactive).add(request, rank)
        return request.done.result()

    def compute(self, function: Callable[[], Result], priority: Priority = "interactive", *, tokens: int = 0) -> Result:
        """Call a function on a thread of this priority, before any text that waits there, and return its result.

        Meant for other models: each computing thread more would slow down all (see `core.threads`).

        Args:
            tokens: how many the function computes. After many, freed memory is returned to the system.

        Raises:
            Unavailable: the service is closed, or was closed while the function waited.
            Exception: any error that the function raises.
        """
        return (self._bulk if priority == "bulk" else self._interactive).compute(function, tokens)

    def thread_count(self, priority: Priority) -> int:
        """Return how many threads compute work of this priority, each something else."""
        return self._bulk_threads if priority == "bulk" else 1

    def close(self) -> None:
        """Stop the threads after their current micro-batches. Callers that still wait get `Unavailable`."""
        threads = (self._interactive, self._bulk)
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join()
