"""Threads that embed for all others. Short queries go first, and texts of several callers share a micro-batch."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from core.bulk_work import BulkWork
from core.errors import Unavailable
from core.memory import trim_memory
from ingest.embedding.micro_batches import (
    MICRO_BATCH_TEXTS,
    MICRO_BATCH_TOKENS,
    Part,
    Rank,
    TextRequest,
    WaitingTexts,
)

if TYPE_CHECKING:
    from ingest.embedding.embedder import Embedder

log = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Where two callers wait, more usually follow. A micro-batch waits until none has come for the gap, at most for the
#: maximum: 32 texts together take a third of the time that they take one by one. A lone caller never waits.
GATHER_GAP_SECONDS = 0.006
GATHER_MAX_SECONDS = 0.1
#: A micro-batch of at most so many tokens is computed on one core. Threads that wait for each other lose most of their
#: speed when another process, such as the one that generates answers, takes a core from one of them. So does the other.
ONE_CORE_TOKENS = 128
#: Tokens embedded before the memory of freed tensors is returned to the system: a micro-batch leaves up to 130 MiB,
#: many leave more. Doing it after each one would cost time, since the kernel clears every page it hands out again. The
#: rest is returned when the thread has been idle for some time, unless it is too little to be worth it.
TRIM_TOKENS = 32 * MICRO_BATCH_TOKENS
TRIM_MIN_TOKENS = MICRO_BATCH_TOKENS // 8
TRIM_IDLE_SECONDS = 1.0


class EmbeddingThreads:
    """Compute micro-batches, each thread with an embedder for itself. They must be stopped before the process ends."""

    def __init__(
        self, name: str, embedders: Sequence[Embedder], *, cores: int = 1, bulk: BulkWork | None = None
    ) -> None:
        """
        Args:
            embedders: one for each thread.
            cores: on how many each of them computes.
            bulk: given if what they compute is bulk work.
        """
        self._cores = cores
        self._bulk = bulk
        self._changed = threading.Condition()
        self._waiting = WaitingTexts(len(embedders))
        self._calls: deque[tuple[Future[Any], Callable[[], Any], int]] = deque()
        self._tokens_since_trim = 0
        self._closed = False
        self._threads = [threading.Thread(target=self._run, args=[one], name=name, daemon=True) for one in embedders]
        for thread in self._threads:
            thread.start()

    def add(self, request: TextRequest, rank: Rank) -> None:
        """Queue a request with at least one text.

        Raises:
            Unavailable: the threads are stopping.
        """
        with self._changed:
            self._require_open()
            self._waiting.add(request, rank)
            self._changed.notify_all()

    def compute(self, function: Callable[[], Result], tokens: int = 0) -> Result:
        """Call a function on one of these threads, before any waiting text, and return its result.

        Args:
            tokens: how many the function computes. After many, freed memory is returned to the system.

        Raises:
            Unavailable: the threads are stopping, or were stopped while the function waited.
            Exception: any error that the function raises.
        """
        done: Future[Result] = Future()
        with self._changed:
            self._require_open()
            self._calls.append((done, function, tokens))
            self._changed.notify()
        return done.result()

    def stop(self) -> None:
        """Begin to stop: after the current micro-batches, callers that still wait get `Unavailable`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the threads have stopped."""
        for thread in self._threads:
            thread.join()
        for request in self._waiting:
            request.fail(_closing())
        while self._calls:
            self._calls.popleft()[0].set_exception(_closing())

    def _require_open(self) -> None:
        if self._closed:
            raise _closing()

    def _run(self, embedder: Embedder) -> None:
        # Before the first computation: the threads that OpenMP then starts for this one inherit its priority.
        if self._bulk is not None:
            self._bulk.lower_priority()
        while work := self._next_work(embedder):
            work()

    def _next_work(self, embedder: Embedder) -> Callable[[], None] | None:
        """Wait for work and return it, or None once the threads are to stop."""
        with self._changed:
            if not self._wait_for_work(TRIM_IDLE_SECONDS if self._should_trim else None):
                return self._trim_memory
            if len(self._threads) == 1:
                self._gather()
            if self._closed:
                return None
            if self._calls:
                return partial(self._call, embedder, *self._calls.popleft())
            return partial(self._compute, embedder, self._waiting.take())

    def _wait_for_work(self, timeout_seconds: float | None) -> bool:
        return bool(self._changed.wait_for(lambda: self._closed or self._calls or len(self._waiting), timeout_seconds))

    @property
    def _should_trim(self) -> bool:
        return self._tokens_since_trim >= TRIM_MIN_TOKENS

    def _trim_memory(self) -> None:
        self._tokens_since_trim = 0
        trim_memory()

    def _gather(self) -> None:
        """Wait briefly for more callers with short texts, so that they share a micro-batch."""
        latest = time.monotonic() + GATHER_MAX_SECONDS
        while 1 < self._waiting.short < MICRO_BATCH_TEXTS and time.monotonic() < latest:
            if self._closed or self._calls or not self._changed.wait(GATHER_GAP_SECONDS):
                break

    def _call(self, embedder: Embedder, done: Future[Any], function: Callable[[], Any], tokens: int) -> None:
        embedder.use_cores(self._cores)
        try:
            with self._announced():
                result = function()
            done.set_result(result)
        except Exception as error:  # any error goes to the caller, and the thread goes on
            done.set_exception(error)
        self._count(tokens)

    def _compute(self, embedder: Embedder, parts: Sequence[Part]) -> None:
        texts = [text for part in parts for text in part.texts]
        tokens = sum(part.tokens for part in parts)
        embedder.use_cores(self._cores if tokens > ONE_CORE_TOKENS else 1)
        try:
            with self._announced():
                vectors = embedder.encode(texts, parts[0].request.purpose)
        except Exception as error:  # any error goes to the callers, and the thread goes on
            self._settle_failure(embedder, parts, error)
            return
        start = 0
        with self._changed:
            for part in parts:
                part.deliver(vectors[start : start + len(part.texts)])
                start += len(part.texts)
        self._count(tokens)

    def _count(self, tokens: int) -> None:
        with self._changed:
            self._tokens_since_trim += tokens
            must_trim = self._tokens_since_trim >= TRIM_TOKENS
        if must_trim:
            self._trim_memory()

    def _announced(self) -> AbstractContextManager[None]:
        return self._bulk.announced() if self._bulk is not None else nullcontext()

    def _settle_failure(self, embedder: Embedder, parts: Sequence[Part], error: Exception) -> None:
        """Pass an error to its caller. Several callers are computed again one by one, so that only one fails."""
        if len(parts) > 1:
            for part in parts:
                self._compute(embedder, [part])
            return
        log.warning("embedding %d texts failed: %s", len(parts[0].texts), error)
        with self._changed:
            self._waiting.remove(parts[0].request)
            parts[0].request.fail(error)


def _closing() -> Unavailable:
    return Unavailable("The embedding model is shutting down; try again.", retry_after_seconds=5)
