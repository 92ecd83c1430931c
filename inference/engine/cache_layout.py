"""Chooses the prompt cache for the layout of a backend's KV cache."""

from __future__ import annotations

from inference.engine.backend import Backend
from inference.engine.prompt_cache import PromptCache
from inference.engine.stream_cache import StreamCache
from inference.engine.unified_cache import UnifiedCache


def cache_of(backend: Backend) -> PromptCache:
    """Return an empty prompt cache for this backend."""
    layout = StreamCache if backend.has_streams else UnifiedCache
    return layout(
        backend.sequences,
        backend.cells,
        can_share=backend.can_trim,
        most_parked_tokens=backend.parked_tokens,
        window_tokens=backend.window_tokens,
    )
