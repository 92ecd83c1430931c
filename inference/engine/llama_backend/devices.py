"""The GPUs that llama.cpp can use, and how a model is divided among them and main memory."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
from llama_cpp._ggml import libggml

from core.available_memory import available_memory_bytes
from core.models.files import weights_bytes
from core.models.needed_memory import LONGEST_AUTO_CONTEXT, SPARE_CELLS, STEP_TOKENS, CacheCost
from core.settings import Settings
from inference.engine.gpu_layers import layers_that_fit, usable_bytes

#: `ggml_backend_dev_type`: a GPU with memory of its own, and one that uses main memory.
_GPU, _INTEGRATED_GPU = 1, 2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A GPU."""

    name: str
    free_bytes: int
    #: Whether its memory is main memory.
    shares_memory: bool


@dataclass(frozen=True)
class Placement:
    """Where the layers of a model are."""

    #: For llama.cpp: one more than the model has are all, with the output layer; -1 are all too.
    gpu_layers: int
    #: The share of the KV cache that is in the memory of GPUs, and the share that is in main memory. What is in memory
    #: that both share counts in both.
    gpu_share: float = 0.0
    main_share: float = 1.0


def gpus() -> list[Device]:
    """Return the GPUs that this build of llama.cpp uses: those with main memory only if there are no others."""
    found = {_GPU: list[Device](), _INTEGRATED_GPU: list[Device]()}
    if not llama.llama_supports_gpu_offload():
        return []
    handle, size = ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)
    count = _function("ggml_backend_dev_count", ctypes.c_size_t)
    get = _function("ggml_backend_dev_get", handle, ctypes.c_size_t)
    kind = _function("ggml_backend_dev_type", ctypes.c_int, handle)
    name = _function("ggml_backend_dev_name", ctypes.c_char_p, handle)
    memory = _function("ggml_backend_dev_memory", None, handle, size, size)
    for at in range(count()):
        device, free, total = get(at), ctypes.c_size_t(), ctypes.c_size_t()
        if (kind_of_device := kind(device)) in found:
            memory(device, ctypes.byref(free), ctypes.byref(total))
            # On a Mac, all GPUs that Metal knows share the memory.
            shares = kind_of_device == _INTEGRATED_GPU or sys.platform == "darwin"
            found[kind_of_device].append(Device(name(device).decode(errors="replace"), free.value, shares))
    return found[_GPU] or found[_INTEGRATED_GPU]


def place_layers(path: Path, settings: Settings, devices: list[Device], cost: CacheCost) -> Placement:
    """Return where the layers of a model shall be: N_GPU_LAYERS, or as many on GPUs as fit.

    Args:
        path: of the model's file.
        devices: the GPUs; with none, all layers are in main memory.
        cost: what its KV cache takes.
    """
    if not devices:
        return Placement(0)
    model = _described(path)
    if not model:  # loading it will say what is wrong
        return Placement(0)
    layers, trained = int(llama.llama_model_n_layer(model)), int(llama.llama_model_n_ctx_train(model))
    llama.llama_model_free(model)
    if settings.n_gpu_layers == "auto":
        auto = min(trained or LONGEST_AUTO_CONTEXT, LONGEST_AUTO_CONTEXT)
        length = auto if settings.context_length == "auto" else int(settings.context_length)
        cache_bytes = cost.total_bytes(length + SPARE_CELLS, 1, settings.n_batch or STEP_TOKENS)
        kv_layer_bytes = int(cache_bytes / max(1, layers))
        room = [device.free_bytes for device in devices]
        if devices[0].shares_memory:
            room = [min(free, available_memory_bytes()) for free in room[:1]]
        count = layers_that_fit(layers, weights_bytes(path), kv_layer_bytes, room)
    else:
        count = layers + 1 if settings.n_gpu_layers < 0 else min(settings.n_gpu_layers, layers + 1)
    share = min(count, layers) / max(1, layers)
    names = ", ".join(f"{device.name} with {device.free_bytes / 2**20:.0f} MiB free" for device in devices)
    log.info("%d of %d layers are on GPUs (%s)", count, layers + 1, names)
    return Placement(count, share, 1.0 if devices[0].shares_memory else 1.0 - share)


def free_gpu_bytes() -> int:
    """Return how much memory of the GPUs the KV cache may take, once the model is loaded."""
    return sum(usable_bytes(device.free_bytes) for device in gpus())


def _described(path: Path) -> Any:
    """Return a model without its weights, which takes no memory; None if the file cannot be read."""
    params = llama.llama_model_default_params()
    params.no_alloc, params.load_mode, params.n_gpu_layers = True, llama.LLAMA_LOAD_MODE_NONE, 0
    return llama.llama_model_load_from_file(os.fsencode(path), params)


def _function(name: str, returns: Any, *takes: Any) -> Any:
    """Return a function of ggml, which llama-cpp-python has no name for."""
    function = getattr(libggml, name)
    function.restype, function.argtypes = returns, list(takes)
    return function
