"""A bare `llama_decode` loop, prompts included, with the best context that can be made for its work.

The context has as many streams as sequences, each no longer than it must be. Flash attention and the way in which the
prompts are computed, together or one after the other, are those that are fastest for the work.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import llama_cpp as llama

#: Tokens of a batch that computes prompts.
BATCH_TOKENS = 512
#: llama.cpp rounds a context to a multiple of this.
CELL_MULTIPLE = 256


@dataclass(frozen=True)
class BareRun:
    """Sequences that began at once.

    Attributes:
        tokens_per_second: over all sequences, prompts included.
        decode_tokens_per_second: the same, from the end of the prompts on.
        ttft_ms: the median time to a first token.
    """

    tokens_per_second: float
    decode_tokens_per_second: float
    ttft_ms: float


class BareLoop:
    """The loop of a minimal program in C, with as little Python as possible, greedy."""

    def __init__(self, path: Path, threads: int) -> None:
        llama.llama_backend_init()
        self._threads = threads
        self._model = llama.llama_model_load_from_file(os.fsencode(path), llama.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self._batch = llama.llama_batch_init(BATCH_TOKENS, 0, 1)
        self._sampler = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        llama.llama_sampler_chain_add(self._sampler, llama.llama_sampler_init_greedy())
        #: The best settings found, by number of sequences and cells of each.
        self._best: dict[tuple[int, int], tuple[bool, bool]] = {}

    def run(self, prompts: Sequence[Sequence[int]], tokens: int) -> BareRun:
        """Compute the prompts and `tokens` tokens for each. The first run of a size tries all settings."""
        cells = max(map(len, prompts)) + tokens
        size = len(prompts), -(-cells // CELL_MULTIPLE) * CELL_MULTIPLE
        if size not in self._best:
            choices = list(product((False, True), (False, True)))
            runs = {choice: self._run(prompts, tokens, size, *choice) for choice in choices}
            self._best[size] = max(choices, key=lambda choice: runs[choice].tokens_per_second)
        return self._run(prompts, tokens, size, *self._best[size])

    def _run(
        self, prompts: Sequence[Sequence[int]], tokens: int, size: tuple[int, int], flash: bool, together: bool
    ) -> BareRun:
        context = self._context(*size, flash)
        try:
            return self._timed(context, prompts, tokens, together)
        finally:
            llama.llama_free(context)

    def _context(self, sequences: int, cells: int, flash: bool) -> Any:
        params = llama.llama_context_default_params()
        params.n_ctx = sequences * cells
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = self._threads
        params.flash_attn_type = int(flash)
        params.kv_unified = False
        context = llama.llama_init_from_model(self._model, params)
        if not context:
            raise RuntimeError("llama.cpp cannot make a context")
        self._fill([(0, [1], 0)], set())
        self._decode(context)  # what is allocated at the first call
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        return context

    def _timed(self, context: Any, prompts: Sequence[Sequence[int]], tokens: int, together: bool) -> BareRun:
        began = time.perf_counter()
        last, firsts = self._prefill(context, prompts, together)
        prefilled = time.perf_counter()
        positions = [len(prompt) for prompt in prompts]
        for step in range(tokens - 1):
            self._fill([(number, [token], positions[number] + step) for number, token in enumerate(last)], None)
            self._decode(context)
            last = [llama.llama_sampler_sample(self._sampler, context, row) for row in range(len(prompts))]
        ended = time.perf_counter()
        return BareRun(
            len(prompts) * tokens / (ended - began),
            len(prompts) * (tokens - 1) / (ended - prefilled),
            statistics.median((moment - began) * 1000 for moment in firsts),
        )

    def _prefill(self, context: Any, prompts: Sequence[Sequence[int]], together: bool) -> tuple[list[int], list[float]]:
        """Return the first token of each sequence, and when it was there."""
        last, firsts = [0] * len(prompts), [0.0] * len(prompts)
        pieces: list[tuple[int, Sequence[int], int]] = []

        def compute() -> None:
            ends = {number for number, piece, start in pieces if start + len(piece) == len(prompts[number])}
            self._fill(pieces, ends)
            self._decode(context)
            row = 0
            for number, piece, _ in pieces:
                row += len(piece)
                if number in ends:
                    last[number] = llama.llama_sampler_sample(self._sampler, context, row - 1)
                    firsts[number] = time.perf_counter()
            pieces.clear()

        for number, prompt in enumerate(prompts):
            start = 0
            while start < len(prompt):
                room = BATCH_TOKENS - sum(len(piece) for _, piece, _ in pieces)
                pieces.append((number, prompt[start : start + room], start))
                start += room
                if start < len(prompt) or not together:
                    compute()
            if together and sum(len(piece) for _, piece, _ in pieces) == BATCH_TOKENS:
                compute()
        if pieces:
            compute()
        return last, firsts

    def _fill(self, pieces: Sequence[tuple[int, Sequence[int], int]], ends: set[int] | None) -> None:
        """Fill the batch with (sequence, tokens, first position); `ends` names those whose last token is sampled."""
        batch, at = self._batch, 0
        for number, piece, start in pieces:
            for offset, token in enumerate(piece):
                batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, start + offset, 1
                batch.seq_id[at][0] = number
                batch.logits[at] = offset == len(piece) - 1 and (ends is None or number in ends)
                at += 1
        batch.n_tokens = at

    def _decode(self, context: Any) -> None:
        if llama.llama_decode(context, self._batch):
            raise RuntimeError("llama_decode failed")
        llama.llama_synchronize(context)


class BareProcess:
    """A `BareLoop` in another process, since OpenMP slows down both when two threads of one process compute."""

    def __init__(self, path: Path, threads: int) -> None:
        context = get_context("spawn")
        self._requests, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, path, threads), daemon=True)
        self._process.start()

    def run(self, prompts: Sequence[Sequence[int]], tokens: int) -> BareRun:
        """See `BareLoop.run`."""
        self._requests.send((prompts, tokens))
        result = self._requests.recv()
        if not isinstance(result, BareRun):
            raise TypeError(f"the bare loop failed: {result}")
        return result

    def close(self) -> None:
        """End the process."""
        self._requests.send(None)
        self._process.join()


def _serve(requests: Connection, path: Path, threads: int) -> None:
    llama.llama_log_set(_silent, ctypes.c_void_p(0))
    loop = BareLoop(path, threads)
    while (request := requests.recv()) is not None:
        requests.send(loop.run(*request))


@llama.llama_log_callback
def _silent(level: int, text: bytes, data: Any) -> None:
    """Drop llama.cpp's log."""
