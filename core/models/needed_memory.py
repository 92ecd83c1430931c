"""How much memory a model needs, from the header of its file: what has to be free before its process is started."""

from __future__ import annotations

from dataclasses import dataclass

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
#: The tokens of a step, at most, if N_BATCH is not set.
STEP_TOKENS = 512
#: What a process needs besides weights and KV cache: the interpreter with its libraries, and the compute buffers.
PROCESS_BYTES = 400 * 2**20


@dataclass(frozen=True)
class CacheCost:
    """What the KV cache of a model takes.

    Attributes:
        cell_bytes: of one token, in the layers that keep all tokens.
        windowed_bytes: of one token, in the layers that keep a sliding window.
        window_tokens: the length of the window.
    """

    cell_bytes: float
    windowed_bytes: float = 0.0
    window_tokens: int = 0

    @property
    def token_bytes(self) -> float:
        """What a token takes that all layers keep; at least 1."""
        return max(1.0, self.cell_bytes + self.windowed_bytes)

    def total_bytes(self, cells: int, sequences: int, step_tokens: int) -> float:
        """Return the size, in bytes, of `cells` cells that so many sequences share.

        Layers with a window have cells for each sequence's window and for the tokens of one step.
        """
        windowed = min(cells, sequences * self.window_tokens + step_tokens)
        return cells * self.cell_bytes + windowed * self.windowed_bytes

    def fitting_cells(self, room_bytes: float, sequences: int, step_tokens: int) -> int:
        """Return how many cells that so many sequences share fit: the inverse of `total_bytes`."""
        cells, windowed = int(room_bytes / self.token_bytes), sequences * self.window_tokens + step_tokens
        if not self.windowed_bytes or cells <= windowed:
            return cells
        return int((room_bytes - windowed * self.windowed_bytes) / max(1.0, self.cell_bytes))


def cache_cost(header: GgufHeader, settings: Settings) -> CacheCost:
    """Return what the KV cache of a model takes. Layers without attention are not counted."""
    head = (header.key_length + header.value_length) * KV_NUMBER_BYTES[settings.kv_cache_type]
    windowed = header.windowed_heads_kv
    return CacheCost((header.all_heads_kv - windowed) * head, windowed * head, header.window_tokens)


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
    cost = cache_cost(header, settings)
    cache = cost.total_bytes(contexts * length + SPARE_CELLS, contexts, settings.n_batch or STEP_TOKENS)
    return weights + int(cache / KV_MEMORY_SHARE) + PROCESS_BYTES
