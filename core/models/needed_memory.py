"""How much memory a model needs, from the header of its file: what has to be free before its process is started."""

from __future__ import annotations

from core.models.gguf import GgufHeader
from core.settings import Settings

#: The bytes of a number in the KV cache.
KV_NUMBER_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
#: The share of the free memory that the KV cache may take.
KV_MEMORY_SHARE = 0.5
#: CONTEXT_LENGTH=auto takes the length that the model was trained for, within these bounds and what memory allows.
LONGEST_AUTO_CONTEXT = 16_384
SHORTEST_AUTO_CONTEXT = 2_048
#: For so many whole contexts CONTEXT_LENGTH=auto makes room.
AUTO_CONTEXTS = 2
#: A prompt and its last draft need slightly more than the context.
SPARE_CELLS = 256
#: What a process needs besides weights and KV cache: the interpreter with its libraries, and the compute buffers.
PROCESS_BYTES = 400 * 2**20


def cell_bytes(header: GgufHeader, settings: Settings) -> float:
    """Return the size of one token in the KV cache, in bytes. Layers with a window or without attention need less."""
    numbers = header.all_heads_kv * (header.key_length + header.value_length)
    return numbers * KV_NUMBER_BYTES[settings.kv_cache_type]


def needed_bytes(header: GgufHeader, weights: int, settings: Settings) -> int:
    """Return the memory, in bytes, below which the model cannot be loaded: `weights` bytes, and its KV cache.

    With CONTEXT_LENGTH=auto, that is the cache of the shortest context that is chosen.
    """
    return _bytes(header, weights, settings, SHORTEST_AUTO_CONTEXT, contexts=1)


def wanted_bytes(header: GgufHeader, weights: int, settings: Settings) -> int:
    """Return the memory, in bytes, with which the model gets the context that it would have on an empty machine."""
    return _bytes(header, weights, settings, LONGEST_AUTO_CONTEXT, contexts=min(AUTO_CONTEXTS, settings.slots))


def _bytes(header: GgufHeader, weights: int, settings: Settings, auto_length: int, contexts: int) -> int:
    trained = header.context_length
    given = auto_length if settings.context_length == "auto" else int(settings.context_length)
    length = min(given, trained or (SHORTEST_AUTO_CONTEXT if settings.context_length == "auto" else given))
    cache = (contexts * length + SPARE_CELLS) * cell_bytes(header, settings)
    return weights + int(cache / KV_MEMORY_SHARE) + PROCESS_BYTES
