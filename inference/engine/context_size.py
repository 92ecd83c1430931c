"""Decides how large a context fits into memory. Pure: sizes in, sizes out."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from core.errors import ConfigurationError
from core.settings import Settings
from inference.engine.prompt_lookup import MAX_DRAFT_TOKENS

#: The share of the free memory that the KV cache may take.
KV_MEMORY_SHARE = 0.5
#: How many contexts' worth of tokens of finished sequences are kept in main memory, within a share of what is free.
PARKED_CONTEXTS = 4
PARKED_MEMORY_SHARE = 0.1
#: A prompt and its last draft need slightly more than the context.
SPARE_CELLS = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ContextSize:
    """The sizes of a context, in tokens and sequences."""

    context_length: int
    cells: int
    sequences: int
    batch_tokens: int
    #: Tokens of finished sequences that are kept in main memory.
    parked_tokens: int


def choose_context_size(
    settings: Settings,
    *,
    trained_tokens: int,
    cell_bytes: float,
    free_bytes: int,
    batch_tokens: int,
    most_sequences: int,
) -> ContextSize:
    """Return a context that is large enough for all slots if memory allows, and for one slot at least.

    `trained_tokens` is the context that the model was trained with (0: unknown), `cell_bytes` the size of one token in
    the KV cache, `free_bytes` the memory that is left once the model is loaded, `batch_tokens` the tokens of a step if
    N_BATCH is not set.

    Raises:
        ConfigurationError: if not even one sequence fits.
    """
    context_length = min(settings.context_length, trained_tokens or settings.context_length)
    if context_length < settings.context_length:
        log.warning(
            "CONTEXT_LENGTH=%d is more than the model was trained for: using %d",
            settings.context_length,
            trained_tokens,
        )
    least = context_length + SPARE_CELLS
    room_bytes = max(0, free_bytes) * KV_MEMORY_SHARE
    fitting = int(room_bytes / max(cell_bytes, 1.0))
    if fitting < least:
        raise ConfigurationError(
            f"CONTEXT_LENGTH={settings.context_length}: the KV cache of one sequence needs "
            f"{least * cell_bytes / 2**20:.0f} MiB and there is room for {room_bytes / 2**20:.0f} MiB. "
            "Lower it, or set KV_CACHE_TYPE=q8_0."
        )
    cells = min(settings.slots * context_length + SPARE_CELLS, fitting)
    sequences = min(settings.slots, most_sequences)
    batch_tokens = min(max(settings.n_batch or batch_tokens, settings.slots * (1 + MAX_DRAFT_TOKENS)), cells)
    parked = _parked_tokens(settings, context_length, cell_bytes, free_bytes)
    return ContextSize(context_length, cells, sequences, batch_tokens, parked)


def _parked_tokens(settings: Settings, context_length: int, cell_bytes: float, free_bytes: int) -> int:
    if settings.prompt_cache_bytes is not None:
        return int(settings.prompt_cache_bytes / max(cell_bytes, 1.0))
    fitting = int(max(0, free_bytes) * PARKED_MEMORY_SHARE / max(cell_bytes, 1.0))
    return min(PARKED_CONTEXTS * context_length, fitting)
