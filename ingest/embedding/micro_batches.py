"""The texts that wait for a model, and the micro-batches in which it computes them. Pure, but for the futures."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Literal

import numpy as np
import numpy.typing as npt

from ingest.embedding.prompts import Purpose

#: The order in which queues are served. An interactive request is short or long.
Rank = Literal["short", "long", "bulk"]
Vectors = npt.NDArray[np.float32]

#: Most texts computed at once, and most of their tokens with padding. A micro-batch cannot be interrupted, so they
#: bound how long a query waits for other interactive work: 0.2 s on two idle cores with the starter.
MICRO_BATCH_TEXTS = 64
MICRO_BATCH_TOKENS = 4096
#: The same for bulk work, where a thread computes on one core: 0.1 s on an idle one. Larger ones are hardly faster.
BULK_BATCH_TOKENS = 512
#: The most tokens with padding of an interactive request that is short, such as a question.
SHORT_TOKENS = 128
#: After a short request, micro-batches are smaller for this time, since the next one probably follows. They bound its
#: wait to a quarter, and take a sixth more processor time for each token.
SMALL_BATCH_TOKENS = 1024
SMALL_BATCH_SECONDS = 2.0
#: Micro-batches of other requests for which a request may be passed over: under a constant load of short queries, long
#: ones must not stand still.
MAX_PASSED = 8


class TextRequest:
    """The texts of one caller, and the vectors computed so far."""

    def __init__(self, texts: Sequence[str], tokens: Sequence[int], purpose: Purpose, dimension: int) -> None:
        # Longest first, since texts are padded to the longest of their micro-batch.
        self.order = sorted(range(len(texts)), key=lambda at: -tokens[at])
        self.texts = [texts[at] for at in self.order]
        self.tokens = [tokens[at] for at in self.order]
        self.purpose = purpose
        self.vectors = np.zeros((len(self.texts), dimension), dtype=np.float32)
        self.taken = self._delivered = 0
        self.done: Future[Vectors] = Future()

    @property
    def waiting(self) -> int:
        """The number of texts that are in no micro-batch yet."""
        return len(self.texts) - self.taken

    @property
    def is_short(self) -> bool:
        return len(self.texts) * self.tokens[0] <= SHORT_TOKENS

    def deliver(self, start: int, vectors: Vectors) -> None:
        """Store the vectors of the texts from `start` on; with the last ones, wake the caller."""
        self.vectors[self.order[start : start + len(vectors)]] = vectors
        self._delivered += len(vectors)
        if self._delivered == len(self.texts):
            self.done.set_result(self.vectors)

    def fail(self, error: Exception) -> None:
        """Pass an error to the caller, unless an earlier part of the texts has failed."""
        if not self.done.done():
            self.done.set_exception(error)


class Part:
    """The slice of a request that belongs to one micro-batch."""

    def __init__(self, request: TextRequest, size: int) -> None:
        self.request = request
        self.start = request.taken
        self.stop = request.taken = request.taken + size

    @property
    def texts(self) -> list[str]:
        return self.request.texts[self.start : self.stop]

    @property
    def tokens(self) -> int:
        return sum(self.request.tokens[self.start : self.stop])

    def deliver(self, vectors: Vectors) -> None:
        """Store the vectors of this part."""
        self.request.deliver(self.start, vectors)


class WaitingTexts:
    """Requests in queues by rank, from which micro-batches are taken. Not thread-safe."""

    def __init__(self, takers: int = 1) -> None:
        """
        Args:
            takers: how many threads take micro-batches. None takes more than its share of what waits.
        """
        self._takers = takers
        self._queues: dict[Rank, deque[TextRequest]] = {"short": deque(), "long": deque(), "bulk": deque()}
        #: How many micro-batches of other queues were computed while a queue had to wait.
        self._passed: dict[Rank, int] = dict.fromkeys(self._queues, 0)
        #: When the last short request came, by the clock of `time.monotonic`.
        self._short_at = -SMALL_BATCH_SECONDS

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __iter__(self) -> Iterator[TextRequest]:
        for queue in self._queues.values():
            yield from queue

    def add(self, request: TextRequest, rank: Rank) -> None:
        """Queue a request with at least one text."""
        self._queues[rank].append(request)
        if rank == "short":
            self._short_at = time.monotonic()

    def remove(self, request: TextRequest) -> None:
        """Forget a request, if it still waits."""
        for queue in self._queues.values():
            if request in queue:
                queue.remove(request)

    @property
    def short(self) -> int:
        """The number of short requests."""
        return len(self._queues["short"])

    def take(self) -> list[Part]:
        """Take a micro-batch from the front of the queue whose turn it is.

        A request that is larger goes to the back of its queue: smaller ones overtake it.
        """
        rank = self._next_rank()
        queue = self._queues[rank]
        parts: list[Part] = []
        purpose, taken, widest = queue[0].purpose, 0, 1
        tokens = self._batch_tokens(rank)
        share = -(-sum(request.waiting for request in queue) // self._takers)
        while queue and queue[0].purpose == purpose:
            widest = max(widest, queue[0].tokens[queue[0].taken])
            room = min(MICRO_BATCH_TEXTS, share, max(1, tokens // widest)) - taken
            if room <= 0:
                break
            request = queue.popleft()
            part = Part(request, min(room, request.waiting))
            parts.append(part)
            taken += part.stop - part.start
            if request.waiting:
                queue.append(request)
        return parts

    def _batch_tokens(self, rank: Rank) -> int:
        if rank == "bulk":
            return BULK_BATCH_TOKENS
        is_small = time.monotonic() - self._short_at < SMALL_BATCH_SECONDS
        return SMALL_BATCH_TOKENS if is_small else MICRO_BATCH_TOKENS

    def _next_rank(self) -> Rank:
        """Return the first queue that has requests, unless another one was passed over MAX_PASSED times."""
        waiting: list[Rank] = [rank for rank, queue in self._queues.items() if queue]
        chosen = next((rank for rank in waiting if self._passed[rank] >= MAX_PASSED), waiting[0])
        for rank in self._queues:
            self._passed[rank] = self._passed[rank] + 1 if rank in waiting and rank != chosen else 0
        return chosen
