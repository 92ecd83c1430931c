"""Decides how many layers of a model are on GPUs. Pure: sizes in, a number out."""

from __future__ import annotations

from collections.abc import Sequence

#: What is left free on each device, for the buffers of a step and for other programs.
DEVICE_RESERVE_BYTES = 2**30


def usable_bytes(free_bytes: int) -> int:
    """Return how much of a device's free memory a model may take."""
    return max(0, free_bytes - DEVICE_RESERVE_BYTES)


def layers_that_fit(layers: int, weights_bytes: int, kv_layer_bytes: int, free_bytes: Sequence[int]) -> int:
    """Return how many layers fit on GPUs, with their part of the KV cache.

    Args:
        layers: of the model. Its output layer counts as one more, so that `layers + 1` are all of them.
        weights_bytes: the size of all weights.
        kv_layer_bytes: the size of what the KV cache holds for one layer and one context.
        free_bytes: the free memory of each device.
    """
    layer_bytes = max(1, weights_bytes // (layers + 1) + kv_layer_bytes)
    # A layer is on one device as a whole.
    return min(layers + 1, sum(usable_bytes(free) // layer_bytes for free in free_bytes))
