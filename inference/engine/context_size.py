"""Decides how large a context fits into memory. Pure: sizes in, sizes out.

Only this module decides the length of a context, how many sequences run at once, and how many cells the KV cache has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.errors import ConfigurationError
from core.models.needed_memory import (
    AUTO_CONTEXTS,
    KV_MEMORY_SHARE,
    LONGEST_AUTO_CONTEXT,
    SHORTEST_AUTO_CONTEXT,
    SPARE_CELLS,
    CacheCost,
)
from core.settings import Settings
from inference.engine.prompt_lookup import MAX_DRAFT_TOKENS

#: The share of the free memory of GPUs, which has little other use, that the KV cache may take.
KV_GPU_MEMORY_SHARE = 0.9
#: Where all slots share the cells, CONTEXT_LENGTH=auto makes room for AUTO_CONTEXTS, or for so many tokens of each slot
#: if that is more. Few conversations fill a context, so whole contexts for all slots would cost memory and
#: time: llama.cpp fills the whole cache with zeros at the start, and without flash attention it stores V transposed, in
#: rows of the cache's length, which makes a single short sequence 1.1 to 1.2 times slower among 65,536 cells than
#: among 4,096.
AUTO_SLOT_CELLS = 2_048
#: How many contexts' worth of tokens of finished sequences are kept in main memory, at most as many as the KV cache
#: has, and within a share of what is free.
PARKED_CONTEXTS = 4
PARKED_MEMORY_SHARE = 0.1
#: Contexts are chosen in multiples of this many tokens, as llama.cpp rounds the cells of its cache.
GRANULARITY = 256


@dataclass(frozen=True)
class ContextSize:
    """The sizes of a context, in tokens and sequences."""

    #: The most tokens of one sequence, its answer included.
    context_length: int
    #: Why the context is not longer, for the log.
    reason: str
    #: Tokens of all sequences together.
    cells: int
    #: The size of the KV cache.
    cache_bytes: float
    sequences: int
    #: Whether each sequence has a stream of cells of its own, instead of one cache for all.
    has_streams: bool
    batch_tokens: int
    #: Tokens of finished sequences that are kept in main memory.
    parked_tokens: int


@dataclass(frozen=True)
class Machine:
    """What a model needs and a machine has."""

    #: The context that the model was trained with, in tokens; 0: unknown.
    trained_tokens: int
    cost: CacheCost
    #: The main memory that is left once the model is loaded.
    free_bytes: int
    #: The tokens of a step if N_BATCH is not set.
    batch_tokens: int
    most_sequences: int
    #: Whether each slot shall have a stream of cells of its own, if memory allows.
    wants_streams: bool = False
    #: The share of each token that is in main memory, and the share that is in that of GPUs.
    main_share: float = 1.0
    gpu_share: float = 0.0
    #: What may be taken of the memory of GPUs once the model is loaded.
    free_gpu_bytes: int = 0

    @property
    def room_bytes(self) -> int:
        """How large the KV cache may be, with what of it is on GPUs."""
        places = (
            (self.free_bytes, KV_MEMORY_SHARE, self.main_share),
            (self.free_gpu_bytes, KV_GPU_MEMORY_SHARE, self.gpu_share),
        )
        return int(min(max(0, free) * usable / share for free, usable, share in places if share))

    def fitting_cells(self, sequences: int) -> int:
        """Return how many cells fit that so many sequences share."""
        return self.cost.fitting_cells(self.room_bytes, sequences, self.batch_tokens)

    def cache_bytes(self, cells: int, sequences: int) -> float:
        """Return the size of cells that so many sequences share."""
        return self.cost.total_bytes(cells, sequences, self.batch_tokens)


def choose_context_size(settings: Settings, machine: Machine) -> ContextSize:
    """Return the context that the settings ask for, as far as memory allows.

    A given CONTEXT_LENGTH is kept, with room for that of all slots if memory allows, and for one at least. With `auto`,
    the length is chosen so that two whole contexts fit. In streams, each slot has room for a whole context: there are
    fewer slots where memory does not suffice, and where it does not suffice for two, all slots share one cache.

    Raises:
        ConfigurationError: if not even one sequence fits.
    """
    if settings.context_length == "auto":
        contexts = min(AUTO_CONTEXTS, settings.slots)
        length, reason = _auto_length(machine, contexts)
        wanted = max(contexts * length, settings.slots * min(length, AUTO_SLOT_CELLS))
    else:
        length, reason = _given_length(int(settings.context_length), machine)
        wanted = settings.slots * length
    if machine.fitting_cells(1) < length + SPARE_CELLS:
        raise _no_room(settings, machine, length)
    sequences = min(settings.slots, machine.most_sequences)
    stream_bytes = machine.cache_bytes(stream_cells(length), 1)
    streams = min(sequences, int(machine.room_bytes / max(1.0, stream_bytes)))
    if machine.wants_streams and streams >= min(2, settings.slots):
        size = _sized(settings, machine, length, reason, streams * stream_cells(length), streams)
        return replace(size, has_streams=True, cache_bytes=streams * stream_bytes)
    # Each sequence has a window of its own in layers with one.
    while machine.fitting_cells(sequences) < length + SPARE_CELLS:
        sequences -= 1
    cells = min(wanted + SPARE_CELLS, machine.fitting_cells(sequences))
    return _sized(settings, machine, length, reason, cells, sequences)


def stream_cells(context_length: int) -> int:
    """Return the cells of a stream. llama.cpp rounds them up to a multiple of GRANULARITY."""
    return -(-(context_length + SPARE_CELLS) // GRANULARITY) * GRANULARITY


def smaller(size: ContextSize) -> ContextSize | None:
    """Return about half of a size that `auto` chose, for when it could not be allocated; None if it is the smallest."""
    if size.context_length <= SHORTEST_AUTO_CONTEXT:
        return None
    length = max(SHORTEST_AUTO_CONTEXT, size.context_length // 2)
    cells = size.sequences * stream_cells(length) if size.has_streams else max(length + SPARE_CELLS, size.cells // 2)
    return replace(
        size,
        context_length=length,
        reason="more could not be allocated",
        cells=cells,
        cache_bytes=size.cache_bytes * cells / size.cells,
        batch_tokens=min(size.batch_tokens, cells),
        parked_tokens=min(size.parked_tokens, PARKED_CONTEXTS * length, cells),
    )


def _given_length(given: int, machine: Machine) -> tuple[int, str]:
    """Return the given length, or the length that the model was trained for if that is shorter; and the reason."""
    if machine.trained_tokens and machine.trained_tokens < given:
        return machine.trained_tokens, f"the model was trained for no more than CONTEXT_LENGTH={given}"
    return given, f"CONTEXT_LENGTH={given}"


def _auto_length(machine: Machine, contexts: int) -> tuple[int, str]:
    """Return the length that `auto` chooses, of which so many contexts have to fit, and why it is not longer."""
    trained = machine.trained_tokens or SHORTEST_AUTO_CONTEXT
    length, reason = trained, "the model's own length" if machine.trained_tokens else "the model does not say its own"
    if length > LONGEST_AUTO_CONTEXT:
        length, reason = LONGEST_AUTO_CONTEXT, f"CONTEXT_LENGTH=auto; the model was trained for {trained}"
    fitting = (machine.fitting_cells(contexts) - SPARE_CELLS) // contexts // GRANULARITY * GRANULARITY
    if fitting < length:
        shortest = min(SHORTEST_AUTO_CONTEXT, trained)
        reason = f"memory has room for {contexts} of this length; the model was trained for {trained}"
        return max(fitting, shortest), reason
    return length, reason


def _no_room(settings: Settings, machine: Machine, length: int) -> ConfigurationError:
    needed_bytes = machine.cache_bytes(length + SPARE_CELLS, 1)
    return ConfigurationError(
        f"CONTEXT_LENGTH={settings.context_length}: the KV cache of one sequence of {length} tokens needs "
        f"{needed_bytes / 2**20:.0f} MiB and there is room for {machine.room_bytes / 2**20:.0f} MiB. "
        "Set it lower, or set KV_CACHE_TYPE=q8_0."
    )


def _sized(settings: Settings, machine: Machine, length: int, reason: str, cells: int, sequences: int) -> ContextSize:
    return ContextSize(
        context_length=length,
        reason=reason,
        cells=cells,
        cache_bytes=machine.cache_bytes(cells, sequences),
        sequences=sequences,
        has_streams=False,
        batch_tokens=min(max(settings.n_batch or machine.batch_tokens, settings.slots * (1 + MAX_DRAFT_TOKENS)), cells),
        parked_tokens=_parked_tokens(settings, machine, length, cells),
    )


def _parked_tokens(settings: Settings, machine: Machine, length: int, cells: int) -> int:
    # Copies hold only the window in layers with one, which is not counted on: they are of any length.
    cell_bytes = machine.cost.token_bytes
    if settings.prompt_cache_bytes is not None:
        return int(settings.prompt_cache_bytes / cell_bytes)
    fitting = int(max(0, machine.free_bytes) * PARKED_MEMORY_SHARE / cell_bytes)
    return min(PARKED_CONTEXTS * length, cells, fitting)
