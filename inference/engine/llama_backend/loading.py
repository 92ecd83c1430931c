"""Loads a GGUF file and decides how large its context is."""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama

from core.errors import ConfigurationError
from core.models.needed_memory import CacheCost
from core.settings import Settings
from inference.engine.context_size import ContextSize, Machine, choose_context_size
from inference.engine.llama_backend.devices import Placement, free_gpu_bytes
from inference.engine.llama_backend.model_kind import kind_of
from inference.engine.llama_backend.runtime import forward_log, last_error
from inference.engine.model_files import ModelFile

#: llama.cpp's types of the KV cache.
KV_TYPES = {"f16": llama.GGML_TYPE_F16, "q8_0": llama.GGML_TYPE_Q8_0, "q4_0": llama.GGML_TYPE_Q4_0}

#: Tokens of a step if N_BATCH is not set. On a CPU without flash attention, a larger step exceeds the CPU's caches.
GPU_BATCH_TOKENS = 512
CPU_BATCH_TOKENS = 256
#: llama.cpp's flash attention on CPUs computes a pass in tiles of so many query rows (GGML_FA_TILE_Q) if it has at
#: least so many of each sequence, and row by row if not.
CPU_TILE_ROWS = 64
#: How often the progress of loading is logged.
PROGRESS_SECONDS = 2.0

log = logging.getLogger(__name__)


def load_model(file: ModelFile, gpu_layers: int, on_progress: Callable[[float], None]) -> Any:
    """Load a model with so many layers on GPUs.

    Raises:
        ConfigurationError: if llama.cpp cannot load it.
    """
    params = llama.llama_model_default_params()
    params.n_gpu_layers = gpu_layers
    log.info("Loading %s (%.0f MB)", file.path.name, file.path.stat().st_size / 1e6)
    progress = _progress_of(file.path.name, on_progress)
    params.progress_callback = progress
    model = llama.llama_model_load_from_file(os.fsencode(file.path), params)
    if not model:
        raise ConfigurationError(
            f"llama.cpp cannot load {file.path}: {last_error() or 'no reason given'}. The file may be cut short, "
            "or its architecture newer than this version of llama-cpp-python."
        )
    return model


def _progress_of(name: str, on_progress: Callable[[float], None]) -> Any:
    """Return a callback that logs and reports the progress of loading, every few seconds.

    Keep a reference until loading ends, because C calls it.
    """
    logged_at = time.monotonic()

    def log_progress(share: float, _data: Any) -> bool:
        nonlocal logged_at
        if time.monotonic() - logged_at >= PROGRESS_SECONDS:
            logged_at = time.monotonic()
            log.info("Loading %s: %.0f %%", name, 100 * share)
            on_progress(share)
        return True

    return llama.llama_progress_callback(log_progress)


def context_size_of(
    model: Any, settings: Settings, cost: CacheCost, free_bytes: int, placement: Placement
) -> ContextSize:
    """Return the size of the context; `free_bytes` is the main memory that is left beside the weights."""
    machine = Machine(
        trained_tokens=int(llama.llama_model_n_ctx_train(model)),
        cost=cost,
        free_bytes=free_bytes,
        batch_tokens=GPU_BATCH_TOKENS if llama.llama_supports_gpu_offload() else CPU_BATCH_TOKENS,
        most_sequences=int(llama.llama_max_parallel_sequences()),
        wants_streams=_wants_streams(model, settings),
        main_share=placement.main_share,
        gpu_share=placement.gpu_share,
        free_gpu_bytes=free_gpu_bytes() if placement.gpu_share else 0,
    )
    return choose_context_size(settings, machine)


def _wants_streams(model: Any, settings: Settings) -> bool:
    """Return whether each slot shall get a stream of its own. KV_LAYOUT=auto: on CPUs, for models that attend.

    In a unified cache each token attends, masked, to the cells of all sequences. On two cores that makes 8 sequences of
    850 tokens 2.7 times slower. How they compare on a GPU has not been measured. With a sliding window, a unified cache
    cannot share prefixes of running sequences, so those models have streams everywhere.
    """
    if settings.kv_layout != "auto":
        return settings.kv_layout == "streams"
    kind = kind_of(model)
    return not kind.is_recurrent and (kind.window_tokens is not None or not llama.llama_supports_gpu_offload())


def attention_tile(settings: Settings, *, has_streams: bool) -> int:
    """Return `Backend.attention_tile`. In a unified cache, the rows of all sequences fill tiles together."""
    tiles = settings.flash_attention != "off" and settings.kv_cache_type == "f16"
    return CPU_TILE_ROWS if tiles and has_streams and not llama.llama_supports_gpu_offload() else 1


def faster_starter(file: ModelFile, folder: Path) -> ModelFile:
    """Return the starter model requantised to Q8_0, which is made once and kept in `folder`.

    On CPUs it computes prompts twice as fast as the Q4_1 original, for 46 MB more. Return the given file on a GPU, or
    if requantising fails.
    """
    if llama.llama_supports_gpu_offload():
        return file
    target = folder / f"{file.path.name.partition('.')[0]}.Q8_0.gguf"
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}.part")
        params = llama.llama_model_quantize_default_params()
        params.ftype = llama.LLAMA_FTYPE_MOSTLY_Q8_0
        params.allow_requantize = True
        forward_log()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            status = llama.llama_model_quantize(os.fsencode(file.path), os.fsencode(part), ctypes.byref(params))
            if status:
                raise OSError(f"llama_model_quantize failed with status {status}: {last_error()}")
            part.replace(target)
        except OSError as error:
            log.warning("The starter model could not be requantised, so it stays slower: %s", error)
            return file
        finally:
            part.unlink(missing_ok=True)
    return replace(file, path=target)
