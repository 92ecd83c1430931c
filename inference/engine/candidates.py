"""The tokens of a step that can be chosen: those with the largest logits, and the weights of all tokens if needed.

Arrays have a line for each sequence, so that numpy computes all sequences of a step in a few calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: The vocabulary is divided into this many stretches of ids, and the n-th ids of all stretches are a block.
STRETCHES = 64
#: By how much a bound of logits is lowered if the tokens above it are too few.
EXTENSION = 2.0
_LEAST = np.finfo(np.float32).min


@dataclass(frozen=True, slots=True)
class Leaders:
    """The tokens whose logit is at least `bound`, but not those with -inf, in the order of their ids."""

    ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    bound: float
    vocab_size: int

    @property
    def are_all(self) -> bool:
        """Whether every token that has a chance is listed."""
        return self.bound <= float(_LEAST) or self.ids.size == self.vocab_size

    def unlisted_weight(self, temperature: float) -> float:
        """Return an upper bound of the weights of the other tokens together, where the largest weight is 1."""
        if self.are_all:
            return 0.0
        # Logits are rounded once more when they are divided by the temperature.
        below = (self.bound - float(self.logits.max())) / temperature * (1 - 2.0**-20)
        return (self.vocab_size - self.ids.size) * float(np.exp(below))


@dataclass(frozen=True, slots=True)
class Weights:
    """exp(logit / temperature - the largest of these) of each token, shape [vocab_size], and their sum."""

    each: NDArray[np.float32]
    total: float


def leaders(logits: NDArray[np.float32], count: int) -> list[Leaders]:
    """Return at least the `count` tokens with the largest logits for each line of `logits`, shape [lines, vocab_size].

    At least one token of a block reaches the block's maximum. So at least `count` tokens reach the `count`-th largest
    maximum, which is found without sorting the vocabulary.
    """
    lines, vocab_size = logits.shape
    length = vocab_size // STRETCHES
    whole = length * STRETCHES
    bounds = np.full(lines, _LEAST)
    if length > count:
        blocks = logits[:, :whole].reshape(lines, STRETCHES, length)
        maxima = blocks.max(axis=1)
        np.maximum(bounds, np.partition(maxima, length - count, axis=1)[:, length - count], out=bounds)
        line, column = np.nonzero(maxima >= bounds[:, None])
        found = blocks[line, :, column]
        at, stretch = np.nonzero(found >= bounds[line, None])
        line, ids, values = line[at], stretch * length + column[at], found[at, stretch]
    else:
        line, ids = np.nonzero(logits[:, :whole] >= bounds[:, None])
        values = logits[line, ids]
    rest = logits[:, whole:]
    rest_line, rest_at = np.nonzero(rest >= bounds[:, None])
    line, ids = np.concatenate([line, rest_line]), np.concatenate([ids, rest_at + whole])
    order = np.argsort(line * vocab_size + ids)
    ids, values = ids[order], np.concatenate([values, rest[rest_line, rest_at]])[order]
    ends = np.searchsorted(line[order], np.arange(lines), side="right")
    starts = (0, *ends[:-1])
    return [
        Leaders(ids[start:end], values[start:end], float(bound), vocab_size)
        for start, end, bound in zip(starts, ends, bounds, strict=True)
    ]


def extended(found: Leaders, logits: NDArray[np.float32], weights: Weights, share: float) -> Leaders:
    """Return more leaders, if need be, until their weights are this share of the sum."""
    # Not quite all: numpy adds in another order.
    ids, bound, least = found.ids, found.bound, min(share, 1 - 2.0**-20) * weights.total
    while float(weights.each[ids].sum(dtype=np.float64)) < least and ids.size < logits.size:
        bound -= EXTENSION
        ids = np.flatnonzero(logits >= bound)
    return found if ids is found.ids else Leaders(ids, logits[ids], bound, logits.size)
