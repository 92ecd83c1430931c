"""Which layers of a model attend to a sliding window only, as llama.cpp decides it (`load_swa_pattern`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Pattern:
    """One layer of `period` attends to all tokens: the last one, or the first one with `dense_first`."""

    period: int
    dense_first: bool = False
    #: The window, in tokens, if the file does not say it; 0: then there is none.
    window: int = 0

    def is_windowed(self, layer: int) -> bool:
        return layer % self.period != 0 if self.dense_first else layer % self.period < self.period - 1


#: For files that do not say which layers have a window. Those of unknown architectures count as layers without one.
_PATTERNS = {
    "afmoe": _Pattern(4),
    "cohere2": _Pattern(4),
    "cohere2moe": _Pattern(4, dense_first=True),
    "exaone-moe": _Pattern(4),
    "exaone4": _Pattern(4, window=4096),
    "gemma2": _Pattern(2, window=4096),
    "gemma3": _Pattern(6),
    "gemma3n": _Pattern(5),
    "gpt-oss": _Pattern(2),
    "llama4": _Pattern(4, window=8192),
    "olmo2": _Pattern(4),
    "plamo3": _Pattern(8),
    "smallthinker": _Pattern(4, dense_first=True),
}


def windowed_layers(fields: Mapping[str, Any], architecture: str, layers: int) -> tuple[int, list[bool]]:
    """Return the window in tokens (0: none), and for each layer whether it attends to the window only.

    Args:
        fields: the entries of a GGUF header.
        architecture: `general.architecture`.
        layers: the number of layers.
    """
    known = _PATTERNS.get(architecture)
    window = fields.get(f"{architecture}.attention.sliding_window")
    if not isinstance(window, int):
        window = known.window if known else 0
    given = fields.get(f"{architecture}.attention.sliding_window_pattern")
    if isinstance(given, list):
        windowed = [bool(value) for value in given[:layers]]
        windowed += [False] * (layers - len(windowed))
    elif isinstance(given, int) and given > 0:
        pattern = _Pattern(given, known.dense_first if known else False)
        windowed = [pattern.is_windowed(layer) for layer in range(layers)]
    else:
        windowed = [known.is_windowed(layer) if known else False for layer in range(layers)]
    return (window, windowed) if window > 0 and any(windowed) else (0, [False] * layers)
