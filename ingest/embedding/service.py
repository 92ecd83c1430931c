"""One thread embeds for all threads. Short queries go first, and texts of several callers share a micro-batch."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from core.errors import Unavailable
from core.memory import trim_memory
from ingest.embedding.prompts import Purpose

if TYPE_CHECKING:
    from ingest.embedding.embedder import Embedder

log = logging.getLogger(__name__)

Priority = Literal["interactive", "bulk"]
#: The order in which queues are served. An interactive request is short or long.
Rank = Literal["short", "long", "bulk"]
Result = TypeVar("Result")
Vectors = npt.NDArray[np.float32]

#: Most texts computed at once, and most of their tokens with padding. A micro-batch cannot be interrupted, so they
#: bound how long a query waits for other work: 0.2 s on two idle cores with the starter.
MICRO_BATCH_TEXTS = 64
MICRO_BATCH_TOKENS = 4096
#: The most tokens with padding of an interactive request that is short, such as a question.
SHORT_TOKENS = 128
#: After a short request, micro-batches are smaller for this time, since the next one probably follows. They bound its
#: wait to a quarter, and take a sixth more processor time for each token.
SMALL_BATCH_TOKENS = 1024
SMALL_BATCH_SECONDS = 2.0
#: Where two callers wait, more usually follow. A micro-batch waits until none has come for the gap, at most for the
#: maximum: 32 texts together take a third of the time that they take one by one. A lone caller never waits.
GATHER_GAP_SECONDS = 0.006
GATHER_MAX_SECONDS = 0.1
#: Tokens embedded before the memory of freed tensors is returned to the system: a micro-batch leaves up to 130 MiB,
#: many leave more. Doing it after each one would cost time, since the kernel clears every page it hands out again. The
#: rest is returned when the thread has been idle for some time, unless it is too little to be worth it.
TRIM_TOKENS = 32 * MICRO_BATCH_TOKENS
TRIM_MIN_TOKENS = MICRO_BATCH_TOKENS // 8
TRIM_IDLE_SECONDS = 1.0
#: Micro-batches of other requests for which a request may be passed over: under a constant load of short queries, long
#: ones and indexing must not stand still.
MAX_PASSED = 8


class _Request:
    """The texts of one caller, and the vectors computed so far."""

    def __init__(self, texts: Sequence[str], tokens: Sequence[int], purpose: Purpose, dimension: int) -> None:
        # Longest first, since texts are padded to the longest of their micro-batch.
        self.order = sorted(range(len(texts)), key=lambda at: -tokens[at])
        self.texts = [texts[at] for at in self.order]
        self.tokens = [tokens[at] for at in self.order]
        self.purpose = purpose
        self.vectors = np.zeros((len(self.texts), dimension), dtype=np.float32)
        self.taken = 0
        self.done: Future[Vectors] = Future()

    @property
    def waiting(self) -> int:
        """The number of texts that are in no micro-batch yet."""
        return len(self.texts) - self.taken

    @property
    def is_short(self) -> bool:
        return len(self.texts) * self.tokens[0] <= SHORT_TOKENS


class _Part:
    """The slice of a request that belongs to one micro-batch."""

    def __init__(self, request: _Request, size: int) -> None:
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
        """Store the vectors; after the last part of a request, wake its caller."""
        self.request.vectors[self.request.order[self.start : self.stop]] = vectors
        if self.stop == len(self.request.texts):
            self.request.done.set_result(self.request.vectors)


class EmbeddingService:
    """Embeds for many threads. It must be closed before the process ends.

    Attributes:
        embedder: the model.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._changed = threading.Condition()
        self._queues: dict[Rank, deque[_Request]] = {"short": deque(), "long": deque(), "bulk": deque()}
        #: How many micro-batches of other queues were computed while a queue had to wait.
        self._passed: dict[Rank, int] = dict.fromkeys(self._queues, 0)
        #: When the last short request came, by the clock of `time.monotonic`.
        self._short_at = -SMALL_BATCH_SECONDS
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._tokens_since_trim = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="embedding", daemon=True)
        self._thread.start()

    def embed(self, texts: Sequence[str], purpose: Purpose = "plain", priority: Priority = "interactive") -> Vectors:
        """Embed texts and wait for the result.

        Args:
            texts: the model reads a text up to the end of its window.
            purpose: chooses the model's prompt, if it has one.
            priority: "interactive" is computed before "bulk", and the shorter requests before the longer ones.

        Returns:
            float32 of shape [len(texts), dimension]; each row has length 1.

        Raises:
            Unavailable: the service is closed, or was closed while the texts waited.
            Exception: any error of the model on these texts.
        """
        # Counted by this thread, while the embedding thread computes.
        request = _Request(texts, list(map(self.embedder.tokens_read, texts)), purpose, self.embedder.dimension)
        if not request.texts:
            return request.vectors
        rank: Rank = "bulk" if priority == "bulk" else "short" if request.is_short else "long"
        with self._changed:
            if self._closed:
                raise _closing()
            self._queues[rank].append(request)
            if rank == "short":
                self._short_at = time.monotonic()
            self._changed.notify()
        return request.done.result()

    def compute(self, function: Callable[[], Result]) -> Result:
        """Call a function on the embedding thread, before any waiting text, and return its result.

        Meant for other models: a second computing thread would slow down both (see `core.threads`).

        Raises:
            Unavailable: the service is closed, or was closed while the function waited.
            Exception: any error that the function raises.
        """
        done: Future[Result] = Future()
        with self._changed:
            if self._closed:
                raise _closing()
            self._calls.append((done, function))
            self._changed.notify()
        return done.result()

    def close(self) -> None:
        """Stop the thread after the current micro-batch. Callers that still wait get `Unavailable`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while work := self._next_work():
            work()
        waiting = [request.done for queue in self._queues.values() for request in queue]
        for done in (*waiting, *(done for done, _ in self._calls)):
            done.set_exception(_closing())

    def _next_work(self) -> Callable[[], None] | None:
        """Wait for work and return it, or None once the service is closed."""
        with self._changed:
            if not self._wait_for_work(TRIM_IDLE_SECONDS if self._should_trim else None):
                return self._trim_memory
            self._gather()
            if self._closed:
                return None
            if self._calls:
                return partial(_call, *self._calls.popleft())
            return partial(self._compute, self._take(self._queues[self._next_rank()]))

    def _wait_for_work(self, timeout_seconds: float | None) -> bool:
        return bool(
            self._changed.wait_for(lambda: self._closed or self._calls or any(self._queues.values()), timeout_seconds)
        )

    @property
    def _should_trim(self) -> bool:
        return self._tokens_since_trim >= TRIM_MIN_TOKENS

    def _trim_memory(self) -> None:
        self._tokens_since_trim = 0
        trim_memory()

    def _gather(self) -> None:
        """Wait briefly for more callers with short texts, so that they share a micro-batch."""
        short = self._queues["short"]
        latest = time.monotonic() + GATHER_MAX_SECONDS
        while 1 < len(short) < MICRO_BATCH_TEXTS and time.monotonic() < latest:
            if self._closed or self._calls or not self._changed.wait(GATHER_GAP_SECONDS):
                break

    def _next_rank(self) -> Rank:
        """Return the first queue that has requests, unless another one was passed over MAX_PASSED times."""
        waiting: list[Rank] = [rank for rank, queue in self._queues.items() if queue]
        chosen = next((rank for rank in waiting if self._passed[rank] >= MAX_PASSED), waiting[0])
        for rank in self._queues:
            self._passed[rank] = self._passed[rank] + 1 if rank in waiting and rank != chosen else 0
        return chosen

    def _take(self, queue: deque[_Request]) -> list[_Part]:
        """Fill a micro-batch from the front of a queue. A larger request goes to the back: small ones overtake it."""
        parts: list[_Part] = []
        purpose, taken, widest = queue[0].purpose, 0, 1
        is_small = time.monotonic() - self._short_at < SMALL_BATCH_SECONDS
        tokens = SMALL_BATCH_TOKENS if is_small else MICRO_BATCH_TOKENS
        while queue and queue[0].purpose == purpose:
            widest = max(widest, queue[0].tokens[queue[0].taken])
            room = min(MICRO_BATCH_TEXTS, max(1, tokens // widest)) - taken
            if room <= 0:
                break
            request = queue.popleft()
            part = _Part(request, min(room, request.waiting))
            parts.append(part)
            taken += part.stop - part.start
            if request.waiting:
                queue.append(request)
        return parts

    def _compute(self, parts: Sequence[_Part]) -> None:
        texts = [text for part in parts for text in part.texts]
        self._tokens_since_trim += sum(part.tokens for part in parts)
        try:
            vectors = self.embedder.encode(texts, parts[0].request.purpose)
        except Exception as error:  # any error goes to the callers, and the thread goes on
            self._settle_failure(parts, error)
            return
        start = 0
        for part in parts:
            part.deliver(vectors[start : start + len(part.texts)])
            start += len(part.texts)
        if self._tokens_since_trim >= TRIM_TOKENS:
            self._trim_memory()

    def _settle_failure(self, parts: Sequence[_Part], error: Exception) -> None:
        """Pass an error to its caller. Several callers are computed again one by one, so that only one fails."""
        if len(parts) > 1:
            for part in parts:
                self._compute([part])
            return
        log.warning("embedding %d texts failed: %s", len(parts[0].texts), error)
        request = parts[0].request
        with self._changed:
            for queue in self._queues.values():
                if request in queue:
                    queue.remove(request)
        request.done.set_exception(error)


def _call(done: Future[Any], function: Callable[[], Any]) -> None:
    try:
        done.set_result(function())
    except Exception as error:  # any error goes to the caller, and the thread goes on
        done.set_exception(error)


def _closing() -> Unavailable:
    return Unavailable("The embedding model is shutting down; try again.", retry_after_seconds=5)
