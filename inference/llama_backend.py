"""llama.cpp behind the `Backend` port, through its low-level API. The only module that imports `llama_cpp`."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
import psutil
from numpy.typing import NDArray

from core.errors import ConfigurationError, InternalError
from core.messages import SamplingParams
from core.settings import Settings
from inference.backend import BatchEntry, DecodeStatus
from inference.layout import Layout, choose_layout
from inference.lookup import MAX_DRAFT_TOKENS
from inference.models import ModelFile, ModelInfo, memory_limit_bytes

#: Tokens that `repeat_penalty` looks back over, prompt included, as in llama.cpp.
REPEAT_WINDOW_TOKENS = 64
_LOG_LEVELS = {3: logging.WARNING, 4: logging.ERROR}
_KV_TYPES = {
    "f16": (llama.GGML_TYPE_F16, 2.0),
    "q8_0": (llama.GGML_TYPE_Q8_0, 34 / 32),
    "q4_0": (llama.GGML_TYPE_Q4_0, 18 / 32),
}
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}

log = logging.getLogger(__name__)
_last_error = ""


def _forward_log(level: int, text: bytes, _data: Any) -> None:
    """Passes llama.cpp's warnings and errors on."""
    global _last_error
    # The context is shared by all slots: that it is longer than the model was trained for means nothing.
    if level in _LOG_LEVELS and b"n_ctx_seq" not in text:
        message = text.decode("utf-8", errors="replace").strip()
        if level == 4:
            _last_error = message
        log.log(_LOG_LEVELS[level], "llama.cpp: %s", message)


#: A module-level object: C keeps a pointer to it for ever.
_on_log = llama.llama_log_callback(_forward_log)


def _sample_function() -> Any:
    """`llama_sampler_sample` as a call that keeps the GIL: it is short, and giving the GIL away can cost 5 ms."""
    prototype = ctypes.PYFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)
    return prototype(ctypes.cast(llama._lib.llama_sampler_sample, ctypes.c_void_p).value or 0)


_sample = _sample_function()


class _Batch:
    """A `llama_batch` whose arrays are numpy's, filled in place."""

    def __init__(self, capacity: int) -> None:
        self.token = np.zeros(capacity, np.int32)
        self.position = np.zeros(capacity, np.int32)
        self.seq_id = np.zeros(capacity, np.int32)
        self.wanted = np.zeros(capacity, np.int8)
        self._ones = np.ones(capacity, np.int32)
        # llama.cpp wants a pointer to a list of ids for each token: each list has one member here.
        self._seq_pointers = (self.seq_id.ctypes.data + 4 * np.arange(capacity)).astype(np.uintp)
        self.raw = llama.llama_batch(
            n_tokens=0,
            token=_pointer(self.token, llama.llama_token),
            pos=_pointer(self.position, llama.llama_pos),
            n_seq_id=_pointer(self._ones, ctypes.c_int32),
            seq_id=_pointer(self._seq_pointers, ctypes.POINTER(llama.llama_seq_id)),
            logits=_pointer(self.wanted, ctypes.c_int8),
        )

    def fill(self, entries: Sequence[BatchEntry]) -> None:
        at = 0
        for entry in entries:
            end = at + len(entry.tokens)
            self.token[at:end] = entry.tokens
            self.position[at:end] = range(entry.start, entry.start + end - at)
            self.seq_id[at:end] = entry.seq_id
            self.wanted[at:end] = 0
            self.wanted[end - entry.rows : end] = 1
            at = end
        self.raw.n_tokens = at


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))


class LlamaSampler:
    """A chain of llama.cpp's samplers with the state of one sequence."""

    def __init__(self, backend: LlamaBackend, chain: Any) -> None:
        self._backend = backend
        self._context = backend.context
        self._chain = chain

    def sample(self, row: int, mask: bytes | None = None) -> int:
        if mask is not None:
            logits = self._backend.logits(row)
            bits = np.unpackbits(np.frombuffer(mask, np.uint8), count=logits.shape[0], bitorder="little")
            logits[bits == 0] = -np.inf
        return int(_sample(self._chain, self._context, row))

    def close(self) -> None:
        if self._chain:
            llama.llama_sampler_free(self._chain)
            self._chain = None


class LlamaBackend:
    """A GGUF model and its context. `interrupt`, `tokenize` and the `token_*` methods may be called from any thread."""

    def __init__(self, file: ModelFile, settings: Settings) -> None:
        """Loads the model.

        Raises:
            ConfigurationError: if llama.cpp cannot load it, or its KV cache does not fit into memory.
        """
        llama.llama_log_set(_on_log, ctypes.c_void_p(0))
        llama.llama_backend_init()
        self._handle = _load(file, settings)
        self._vocab = llama.llama_model_get_vocab(self._handle)
        self.vocab_size = llama.llama_vocab_n_tokens(self._vocab)
        bos = int(llama.llama_vocab_bos(self._vocab))
        self.bos = bos if bos >= 0 else None
        recurrent = llama.llama_model_is_recurrent(self._handle) or llama.llama_model_is_hybrid(self._handle)
        self.can_trim = not recurrent
        layout = _layout(self._handle, file, settings)
        self.batch_tokens, self.sequences = layout.batch_tokens, layout.sequences
        # strlen(flag) is 0 or 1: a C function for llama.cpp to call after each node of its graph. A Python function
        # there would take the GIL hundreds of times a step.
        self._flag = ctypes.create_string_buffer(2)
        self.context = self._create_context(layout, settings)
        self._memory = llama.llama_get_memory(self.context)
        self.cells = int(llama.llama_n_ctx(self.context))
        self._batch = _Batch(self.batch_tokens)
        self._piece_cache: dict[int, bytes] = {}
        template = llama.llama_model_chat_template(self._handle, None)
        self.chat_template = template.decode("utf-8", errors="replace") if template else None
        self.model = self._describe(file, layout.context_length)
        self.end_tokens = frozenset(
            token for token in range(self.vocab_size) if llama.llama_vocab_is_eog(self._vocab, token)
        )
        self.control_texts = self._control_texts()

    def _create_context(self, layout: Layout, settings: Settings) -> Any:
        params = llama.llama_context_default_params()
        params.n_ctx = layout.cells
        params.n_batch = params.n_ubatch = layout.batch_tokens
        params.n_seq_max = layout.sequences
        params.n_outputs_max = min(layout.batch_tokens, layout.sequences * (1 + MAX_DRAFT_TOKENS))
        params.n_outputs_max_per_seq = 1 + MAX_DRAFT_TOKENS
        params.n_threads = params.n_threads_batch = settings.inference_threads or settings.cores
        params.flash_attn_type = _FLASH_ATTENTION[settings.flash_attention]
        params.type_k = params.type_v = _KV_TYPES[settings.kv_cache_type][0]
        params.kv_unified = True
        libc = ctypes.CDLL("msvcrt" if os.name == "nt" else None)
        params.abort_callback = ctypes.cast(libc.strlen, llama.ggml_abort_callback)
        params.abort_callback_data = ctypes.addressof(self._flag)
        context = llama.llama_init_from_model(self._handle, params)
        if not context:
            raise ConfigurationError(
                f"llama.cpp could not make a context of {layout.cells} tokens ({_last_error}): "
                "lower CONTEXT_LENGTH or INFERENCE_SLOTS."
            )
        return context

    def _describe(self, file: ModelFile, context_length: int) -> ModelInfo:
        buffer = ctypes.create_string_buffer(256)
        llama.llama_model_desc(self._handle, buffer, len(buffer))
        return ModelInfo(
            name=file.name,
            path=str(file.path),
            context_length=context_length,
            vocab_size=self.vocab_size,
            parameters=int(llama.llama_model_n_params(self._handle)),
            is_starter=file.is_starter,
            chat_template_source="gguf" if self.chat_template else "chatml",
            description=buffer.value.decode("utf-8", errors="replace"),
        )

    def _control_texts(self) -> tuple[str, ...]:
        """The texts that `tokenize(special=True)` reads as control tokens."""
        attribute = llama.LLAMA_TOKEN_ATTR_CONTROL
        marked = (
            token for token in range(self.vocab_size) if llama.llama_vocab_get_attr(self._vocab, token) & attribute
        )
        return tuple(text for token in marked if (text := self.token_text(token)))

    # Steps

    def decode(self, batch: Sequence[BatchEntry]) -> DecodeStatus:
        self._batch.fill(batch)
        status = llama.llama_decode(self.context, self._batch.raw)
        if status == 0:
            # Waits for a GPU here, where the GIL is free.
            llama.llama_synchronize(self.context)
            return DecodeStatus.DONE
        if status == 1:
            return DecodeStatus.FULL
        if status == 2:
            return DecodeStatus.INTERRUPTED
        raise InternalError(f"llama_decode failed with status {status}: {_last_error}")

    def logits(self, row: int) -> NDArray[np.float32]:
        return np.ctypeslib.as_array(llama.llama_get_logits_ith(self.context, row), shape=(self.vocab_size,))

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        llama.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def trim(self, seq_id: int, length: int) -> None:
        if not llama.llama_memory_seq_rm(self._memory, seq_id, length, -1):
            raise InternalError(f"llama.cpp cannot cut sequence {seq_id} at {length} tokens")

    def interrupt(self) -> None:
        self._flag[0] = b"\x01"

    def clear_interrupt(self) -> None:
        self._flag[0] = b"\x00"

    def reset(self) -> None:
        self.clear_interrupt()
        llama.llama_memory_clear(self._memory, True)

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
        from llguidance.llamacpp import lltokenizer_from_vocab

        return lltokenizer_from_vocab(self._vocab, self.vocab_size, sorted(self.end_tokens))

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
    ) -> LlamaSampler:
        chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        self._add_bias(chain, sampling)
        self._add_penalties(chain, sampling, prompt)
        if sampling.temperature <= 0:
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy())
        else:
            self._add_choice(chain, sampling, seed, len(generated))
        for token in generated:
            llama.llama_sampler_accept(chain, token)
        return LlamaSampler(self, chain)

    def _add_bias(self, chain: Any, sampling: SamplingParams) -> None:
        bias = dict(sampling.logit_bias)
        if sampling.ignore_eos:
            bias.update(dict.fromkeys(self.end_tokens, -np.inf))
        if bias:
            table = (llama.llama_logit_bias * len(bias))(*(llama.llama_logit_bias(*one) for one in bias.items()))
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_logit_bias(self.vocab_size, len(bias), table))

    def _add_penalties(self, chain: Any, sampling: SamplingParams, prompt: Sequence[int]) -> None:
        if sampling.repeat_penalty != 1.0:
            repeat = llama.llama_sampler_init_penalties(
                self.vocab_size, REPEAT_WINDOW_TOKENS, sampling.repeat_penalty, 0.0, 0.0
            )
            for token in prompt[-REPEAT_WINDOW_TOKENS:]:
                llama.llama_sampler_accept(repeat, token)
            llama.llama_sampler_chain_add(chain, repeat)
        if sampling.frequency_penalty or sampling.presence_penalty:
            # Over the whole answer, and not over the prompt, as OpenAI defines them.
            counted = llama.llama_sampler_init_penalties(
                self.vocab_size,
                self.model.context_length,
                1.0,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
            llama.llama_sampler_chain_add(chain, counted)

    def _add_choice(self, chain: Any, sampling: SamplingParams, seed: int, drawn: int) -> None:
        """The filters and the draw. `drawn` random numbers were used by an earlier attempt."""
        if sampling.top_k > 0:
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_k(sampling.top_k))
        if sampling.typical_p < 1:
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_typical(sampling.typical_p, 1))
        if sampling.top_p < 1:
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0:
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_min_p(sampling.min_p, 1))
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_temp(sampling.temperature))
        draw = llama.llama_sampler_init_dist(seed)
        _skip_draws(draw, drawn)
        llama.llama_sampler_chain_add(chain, draw)


def _skip_draws(draw: Any, count: int) -> None:
    """Advances the random state of a `dist` sampler by `count` choices between two made-up tokens."""
    for _ in range(count):
        pair = (llama.llama_token_data * 2)(llama.llama_token_data(0, 0.0, 0.0), llama.llama_token_data(1, 0.0, 0.0))
        array = llama.llama_token_data_array(data=pair, size=2, selected=-1, sorted=False)
        llama.llama_sampler_apply(draw, ctypes.byref(array))


def faster_starter(file: ModelFile, folder: Path) -> ModelFile:
    """The starter model requantised to Q8_0, made once and kept in `folder`; the given file where that cannot be done.

    On CPUs it computes prompts twice as fast as its Q4_1 original, for 46 MB more.
    """
    if llama.llama_supports_gpu_offload():
        return file
    target = folder / f"{file.path.name.partition('.')[0]}.Q8_0.gguf"
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}.part")
        params = llama.llama_model_quantize_default_params()
        params.ftype = llama.LLAMA_FTYPE_MOSTLY_Q8_0
        params.allow_requantize = True
        llama.llama_log_set(_on_log, ctypes.c_void_p(0))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            status = llama.llama_model_quantize(os.fsencode(file.path), os.fsencode(part), ctypes.byref(params))
            if status:
                raise OSError(f"llama_model_quantize failed with status {status}: {_last_error}")
            part.replace(target)
        except OSError as error:
            log.warning("The starter model could not be requantised, so it stays slower: %s", error)
            return file
        finally:
            part.unlink(missing_ok=True)
    return replace(file, path=target)


def _load(file: ModelFile, settings: Settings) -> Any:
    params = llama.llama_model_default_params()
    params.n_gpu_layers = settings.n_gpu_layers
    log.info("Loading %s (%.0f MB)", file.path.name, file.path.stat().st_size / 1e6)
    model = llama.llama_model_load_from_file(os.fsencode(file.path), params)
    if not model:
        raise ConfigurationError(
            f"llama.cpp cannot load {file.path}: {_last_error or 'no reason given'}. The file may be cut short, "
            "or its architecture newer than this version of llama-cpp-python."
        )
    return model


def _layout(model: Any, file: ModelFile, settings: Settings) -> Layout:
    heads = max(1, int(llama.llama_model_n_head(model)))
    width = int(llama.llama_model_n_embd(model)) // heads * int(llama.llama_model_n_head_kv(model))
    cell_bytes = 2 * int(llama.llama_model_n_layer(model)) * width * _KV_TYPES[settings.kv_cache_type][1]
    available = min(psutil.virtual_memory().available, memory_limit_bytes())
    return choose_layout(
        settings,
        trained_tokens=int(llama.llama_model_n_ctx_train(model)),
        cell_bytes=cell_bytes,
        free_bytes=available - file.path.stat().st_size,
        most_sequences=int(llama.llama_max_parallel_sequences()),
    )
