"""How large a context fits into memory. Pure: sizes in, sizes out."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from core.errors import ConfigurationError
from core.settings import Settings
from inference.engine.prompt_lookup import MAX_DRAFT_TOKENS

#: Share of the free memory that the KV cache may take.
KV_MEMORY_SHARE = 0.5
#: Contexts' worth of tokens that finished sequences leave in main memory, if that share of what is free allows.
PARKED_CONTEXTS = 4
PARKED_MEMORY_SHARE = 0.1
#: A prompt and its last draft need a little more than the context.
SPARE_CELLS = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """Sizes of the context, in tokens and sequences."""

    context_length: int
    cells: int
    sequences: int
    batch_tokens: int
    #: Tokens kept of finished sequences.
    parked_tokens: int


def choose_layout(
    settings: Settings,
    *,
    trained_tokens: int,
    cell_bytes: float,
    free_bytes: int,
    batch_tokens: int,
    most_sequences: int,
) -> Layout:
    """All slots get a full context if memory allows; at least one must.

    `trained_tokens` is the context the model was trained with (0: unknown), `cell_bytes` the size of one token in the
    KV cache, `free_bytes` the memory that is left once the model is loaded, `batch_tokens` the tokens of a step where
    N_BATCH does not say.

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
    return Layout(context_length, cells, sequences, batch_tokens, parked)


def _parked_tokens(settings: Settings, context_length: int, cell_bytes: float, free_bytes: int) -> int:
    if settings.prompt_cache_bytes is not None:
        return int(settings.prompt_cache_bytes / max(cell_bytes, 1.0))
    fitting = int(max(0, free_bytes) * PARKED_MEMORY_SHARE / max(cell_bytes, 1.0))
    return min(PARKED_CONTEXTS * context_length, fitting)
