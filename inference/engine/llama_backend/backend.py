"""llama.cpp behind the `Backend` port, through its low-level API."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from core.available_memory import available_memory_bytes
from core.errors import ConfigurationError, InternalError
from core.messages import SamplingParams
from core.models.files import weights_bytes
from core.models.gguf import read_header
from core.models.needed_memory import cache_cost
from core.settings import Settings
from inference.engine.backend import BatchEntry, DecodeStatus, FillInMiddle, TokenSampler, token_of
from inference.engine.context_size import ContextSize, smaller
from inference.engine.llama_backend.batch import Batch, pointer
from inference.engine.llama_backend.devices import gpus, place_layers
from inference.engine.llama_backend.loading import KV_TYPES, attention_tile, context_size_of, load_model
from inference.engine.llama_backend.model_kind import check_kind, kind_of, memory_of, metadata
from inference.engine.llama_backend.runtime import forward_log, last_error
from inference.engine.llama_backend.sampler import create_sampler
from inference.engine.llama_backend.step_rows import StepRows
from inference.engine.llama_backend.untouched_pages import large_mappings, release_untouched
from inference.engine.model_files import ModelFile, ModelInfo
from inference.engine.prompt_lookup import MAX_DRAFT_TOKENS
from inference.text.template_choice import ModelTraits, choose_template

_FILL_IN_MIDDLE = (llama.llama_vocab_fim_pre, llama.llama_vocab_fim_suf, llama.llama_vocab_fim_mid)
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}

log = logging.getLogger(__name__)


class LlamaBackend:
    """A GGUF model and its context. `interrupt`, `tokenize` and the `token_*` methods may be called from any thread."""

    def __init__(
        self,
        file: ModelFile,
        settings: Settings,
        threads: Callable[[], int] | None = None,
        on_progress: Callable[[float], None] = lambda _share: None,
    ) -> None:
        """Load the model.

        Args:
            threads: returns the number of threads for the next step (default: always as many as the settings say).
            on_progress: called with the share that has been loaded.

        Raises:
            ConfigurationError: if llama.cpp cannot load it, or its KV cache does not fit into memory.
        """
        forward_log()
        llama.llama_backend_init()
        cost = cache_cost(read_header(file.path), settings)
        # Before the model is loaded: llama.cpp copies some quantised weights, and maps others from the file.
        placement = place_layers(file.path, settings, gpus(), cost)
        free_bytes = available_memory_bytes() - int(weights_bytes(file.path) * placement.main_share)
        self._threads = threads or (lambda: settings.inference_threads or settings.cores)
        self._threads_of_context = settings.inference_threads or settings.cores
        self._handle = load_model(file, placement.gpu_layers, on_progress)
        check_kind(self._handle, file.path)
        self._read_vocabulary()
        self._kind = kind_of(self._handle)
        self.can_trim, self.window_tokens = not self._kind.is_recurrent, self._kind.window_tokens
        self._parked: dict[int, NDArray[np.uint8]] = {}
        # llama.cpp calls the abort callback after each node of its graph. strlen(flag), a C function, returns 0 or 1;
        # a Python function would take the GIL hundreds of times in each step.
        self._flag = ctypes.create_string_buffer(2)
        self._other_mappings = large_mappings()
        wanted = context_size_of(self._handle, settings, cost, free_bytes, placement)
        self.context, size = self._create_context(wanted, settings)
        self.batch_tokens, self.sequences, self.parked_tokens = size.batch_tokens, size.sequences, size.parked_tokens
        self.has_streams = size.has_streams
        self.attention_tile = attention_tile(settings, has_streams=size.has_streams)
        self._memory = memory_of(self.context, file.path)
        self.cells = int(llama.llama_n_ctx(self.context))
        self._batch = Batch(self.batch_tokens)
        #: The logits of the last batch, for each of its tokens that yields some.
        self._logits = np.empty((0, self.vocab_size), np.float32)
        self._lines: dict[int, int] = {}
        self.step_rows = StepRows()
        chosen = choose_template(settings.chat_template, self._embedded_template(), self._traits(file))
        log.info("Chat template of %s: %s", file.name, chosen.origin)
        self.chat_template = chosen.source
        self.model = self._describe(file, size.context_length, chosen.origin)

    def _read_vocabulary(self) -> None:
        self._vocab = llama.llama_model_get_vocab(self._handle)
        self.vocab_size = llama.llama_vocab_n_tokens(self._vocab)
        bos, eos = int(llama.llama_vocab_bos(self._vocab)), int(llama.llama_vocab_eos(self._vocab))
        self.bos = bos if bos >= 0 else None
        self.eos = eos if eos >= 0 else None
        self._piece_cache: dict[int, bytes] = {}
        self.end_tokens = frozenset(
            token for token in range(self.vocab_size) if llama.llama_vocab_is_eog(self._vocab, token)
        )
        self.control_tokens = self._control_tokens()
        around = [int(token_of(self._vocab)) for token_of in _FILL_IN_MIDDLE]
        self.fill_in_middle = FillInMiddle(*around) if min(around) >= 0 else None

    def _create_context(self, size: ContextSize, settings: Settings) -> tuple[Any, ContextSize]:
        """Return a context and its size: a smaller one with CONTEXT_LENGTH=auto if this one cannot be allocated."""
        while True:
            context = llama.llama_init_from_model(self._handle, self._parameters(size, settings))
            if context:
                _log_size(size, settings)
                return context, size
            log.warning("llama.cpp could not make a context of %d tokens: %s", size.cells, last_error())
            less = smaller(size) if settings.context_length == "auto" else None
            if less is None:
                raise ConfigurationError(
                    f"llama.cpp could not make a context of {size.cells} tokens ({last_error()}): "
                    "lower CONTEXT_LENGTH or INFERENCE_SLOTS."
                )
            size = less

    def _parameters(self, size: ContextSize, settings: Settings) -> Any:
        params = llama.llama_context_default_params()
        params.n_ctx = size.cells
        params.n_batch = params.n_ubatch = size.batch_tokens
        params.n_seq_max = size.sequences
        params.n_outputs_max = min(size.batch_tokens, size.sequences * (1 + MAX_DRAFT_TOKENS))
        params.n_outputs_max_per_seq = 1 + MAX_DRAFT_TOKENS
        params.n_threads = params.n_threads_batch = settings.inference_threads or settings.cores
        params.flash_attn_type = _FLASH_ATTENTION[settings.flash_attention]
        params.type_k = params.type_v = KV_TYPES[settings.kv_cache_type]
        params.kv_unified = not size.has_streams
        # Layers with a sliding window keep only their window (decision 36).
        params.swa_full = False
        libc = ctypes.CDLL("msvcrt" if os.name == "nt" else None)
        params.abort_callback = ctypes.cast(libc.strlen, llama.ggml_abort_callback)
        params.abort_callback_data = ctypes.addressof(self._flag)
        return params

    def _embedded_template(self) -> str | None:
        template = llama.llama_model_chat_template(self._handle, None)
        return template.decode("utf-8", errors="replace") if template else None

    def _traits(self, file: ModelFile) -> ModelTraits:
        architecture, name, tokenizer = (
            metadata(self._handle, key) for key in ("general.architecture", "general.name", "tokenizer.ggml.model")
        )
        names = f"{name} {file.path.stem}"
        return ModelTraits(
            architecture, names, tokenizer, self.vocab_size, lambda text: token_of(self, text) is not None
        )

    def _describe(self, file: ModelFile, context_length: int, chat_template: str) -> ModelInfo:
        buffer = ctypes.create_string_buffer(256)
        llama.llama_model_desc(self._handle, buffer, len(buffer))
        return ModelInfo(
            name=file.name,
            path=str(file.path),
            context_length=context_length,
            vocab_size=self.vocab_size,
            parameters=int(llama.llama_model_n_params(self._handle)),
            is_starter=file.is_starter,
            chat_template=chat_template,
            description=buffer.value.decode("utf-8", errors="replace"),
        )

    def _control_tokens(self) -> dict[str, int]:
        attribute = llama.LLAMA_TOKEN_ATTR_CONTROL
        marked = (
            token for token in range(self.vocab_size) if llama.llama_vocab_get_attr(self._vocab, token) & attribute
        )
        return {text: token for token in marked if (text := self.token_text(token))}

    # Decoding

    def decode(self, batch: Sequence[BatchEntry]) -> DecodeStatus:
        if (threads := self._threads()) != self._threads_of_context:
            self._threads_of_context = threads
            llama.llama_set_n_threads(self.context, threads, threads)
        self._batch.fill(batch)
        status = llama.llama_decode(self.context, self._batch.raw)
        if status == 0:
            # Wait for a GPU here, because this call releases the GIL.
            llama.llama_synchronize(self.context)
            self._find_logits()
            return DecodeStatus.DONE
        if status == 1:
            return DecodeStatus.FULL
        if status == 2:
            return DecodeStatus.INTERRUPTED
        raise InternalError(f"llama_decode failed with status {status}: {last_error()}")

    def _find_logits(self) -> None:
        """Find the rows of logits, which llama.cpp keeps one after the other, in the order of their tokens."""
        rows = np.flatnonzero(self._batch.wanted[: self._batch.raw.n_tokens])
        self._lines = {int(row): line for line, row in enumerate(rows)}
        if rows.size:
            address = ctypes.addressof(llama.llama_get_logits(self.context).contents)
            values = (ctypes.c_float * (rows.size * self.vocab_size)).from_address(address)
            self._logits = np.frombuffer(values, np.float32).reshape(rows.size, self.vocab_size)
        self.step_rows.begin(self._logits)

    def logits(self, row: int) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._logits[self._lines[row]]
        return logits

    def line(self, row: int) -> int:
        return self._lines[row]

    def copy_prefix(self, source: int, target: int, length: int) -> bool:
        if self.has_streams:
            # Between streams, `llama_memory_seq_cp` copies all cells, those that are not used too.
            state = self._state(source)
            return state is not None and self._restore(state, target, length)
        llama.llama_memory_seq_cp(self._memory, source, target, 0, length)
        return self.trim(target, length)

    def trim(self, seq_id: int, length: int) -> bool:
        if not llama.llama_memory_seq_rm(self._memory, seq_id, length, -1):
            raise InternalError(f"llama.cpp cannot cut sequence {seq_id} at {length} tokens")
        first = llama.llama_memory_seq_pos_min(self._memory, seq_id)
        if length and not self._kind.can_continue(first, length):
            llama.llama_memory_seq_rm(self._memory, seq_id, 0, -1)
            return False
        return True

    def park(self, seq_id: int, key: int) -> None:
        state = self._state(seq_id)
        if state is not None:
            self._parked[key] = state

    def unpark(self, key: int, target: int, length: int) -> bool:
        state = self._parked.get(key)
        return state is not None and self._restore(state, target, length)

    def _state(self, seq_id: int) -> NDArray[np.uint8] | None:
        """Return a copy of the cells of a sequence, or None if that is impossible."""
        try:
            state = np.empty(llama.llama_state_seq_get_size(self.context, seq_id), np.uint8)
        except MemoryError:
            log.warning("No memory to copy a prompt: lower PROMPT_CACHE_BYTES")
            return None
        size = llama.llama_state_seq_get_data(self.context, pointer(state, ctypes.c_uint8), state.size, seq_id)
        return state if size else None

    def _restore(self, state: NDArray[np.uint8], target: int, length: int) -> bool:
        """Fill the empty sequence `target` with the first `length` tokens of a state. Return False if that failed."""
        read = llama.llama_state_seq_set_data(self.context, pointer(state, ctypes.c_uint8), state.size, target)
        if not read or llama.llama_memory_seq_pos_max(self._memory, target) + 1 < length:
            self.trim(target, 0)
            return False
        return self.trim(target, length)

    def forget(self, key: int) -> None:
        self._parked.pop(key, None)

    def interrupt(self) -> None:
        self._flag[0] = b"\x01"

    def clear_interrupt(self) -> None:
        self._flag[0] = b"\x00"

    def reset(self) -> None:
        self.clear_interrupt()
        self._parked.clear()
        llama.llama_memory_clear(self._memory, True)

    def release_untouched(self) -> None:
        """Give the memory of an empty KV cache back to the system. No other thread may allocate much meanwhile."""
        log.info("%.0f MB take no memory until they are used", release_untouched(self._other_mappings) / 1e6)

    def close(self) -> None:
        if self.context:
            llama.llama_free(self.context)
            llama.llama_model_free(self._handle)
            self.context = self._handle = None

    # Vocabulary

    def tokenize(self, text: str, *, special: bool, add_bos: bool = False) -> list[int]:
        data = text.encode()
        capacity = len(data) + 8
        buffer = (llama.llama_token * capacity)()
        count = llama.llama_tokenize(self._vocab, data, len(data), buffer, capacity, add_bos, special)
        if count < 0:
            raise InternalError(f"llama.cpp could not tokenise {len(data)} bytes")
        return buffer[:count]

    def detokenize(self, tokens: Sequence[int]) -> str:
        ids = (llama.llama_token * len(tokens))(*tokens)
        size = 8 * len(tokens) + 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama.llama_detokenize(self._vocab, ids, len(tokens), buffer, size, False, True)
            if length >= 0:
                return buffer.raw[:length].decode("utf-8", errors="replace")
            size = -length

    def token_bytes(self, token: int) -> bytes:
        piece = self._piece_cache.get(token)
        if piece is None:
            piece = self._piece_cache[token] = self._piece(token, special=False)
        return piece

    def token_text(self, token: int) -> str:
        return self._piece(token, special=True).decode("utf-8", errors="replace")

    def is_end(self, token: int) -> bool:
        return token in self.end_tokens

    def grammar_tokenizer(self) -> Any:
        from llguidance import LLTokenizer

        # By itself, llguidance takes more tokens for control tokens than llama.cpp does: also those that a vocabulary
        # has added in angle brackets, such as Qwen's `<tool_call>`, which this project reads as text.
        control = frozenset(self.control_tokens.values())
        pieces = (self._piece(token, special=True) for token in range(self.vocab_size))
        return LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
            tokens=[b"\xff" + piece if token in control else piece for token, piece in enumerate(pieces)],
            vocab_ptr=self._vocab,
            tokenize_fptr=ctypes.cast(llama._lib.llama_tokenize, ctypes.c_void_p).value,
            eos_token=sorted(self.end_tokens),
        )

    def _piece(self, token: int, *, special: bool) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    # Sampling

    def create_sampler(
        self, sampling: SamplingParams, seed: int, prompt: Sequence[int], generated: Sequence[int]
    ) -> TokenSampler:
        return create_sampler(self, sampling, seed, prompt, generated)


def _log_size(size: ContextSize, settings: Settings) -> None:
    log.info(
        "Context of %d tokens (%s); %d slots, %s in a KV cache of %d tokens (%s, %.0f MB)",
        size.context_length,
        size.reason,
        size.sequences,
        "each with a stream of its own" if size.has_streams else "which share the cells,",
        size.cells,
        settings.kv_cache_type,
        size.cache_bytes / 1e6,
    )
