"""Which token a random number chooses: the token that llama.cpp's chain of samplers chooses from all candidates.

llama.cpp adds probabilities in single precision and in an order of its own. Here, each sum has bounds within which
llama.cpp's is. If the token is not the same for all sums within them, the answer is None: llama.cpp has to be asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.messages import SamplingParams
from inference.engine.candidates import STRETCHES, Leaders, Weights

#: How much the weights of tokens and their sums may differ from llama.cpp's: exp by three units in the last place, and
#: numpy's sums in single precision, which add pairs, by thirteen.
ROUNDING = 2.0**-19
#: By how much an addition or a division in single precision may round.
SINGLE = 2.0**-24
#: By how much a sum in single precision over the vocabulary, one token after the other, differs from llama.cpp's if the
#: weights differ in their last places. Measured: a fifth of this.
SAME_ORDER = 2.0**-20
#: Below it, the weights of tokens that are not among the leaders mostly vanish.
LOW_TEMPERATURE = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of the logits at a row of a step."""

    #: None if `needs_leaders` is false.
    leaders: Leaders | None
    #: At the temperature that `weights_temperature` returns, unless the leaders suffice.
    weights: Weights | None


class RandomNumbers:
    """The random numbers of one sequence: those of C++'s `mt19937` and `uniform_real_distribution<double>`."""

    def __init__(self, seed: int, drawn: int) -> None:
        """Start where an earlier attempt has stopped, which has used `drawn` numbers."""
        self._bits = np.random.MT19937()
        # Unlike MT19937 itself, RandomState sets the state from a seed as C++ does.
        self._bits.state = np.random.RandomState(seed).get_state(legacy=False)  # type: ignore[assignment]  # noqa: NPY002
        self._bits.random_raw(2 * drawn, output=False)

    def next(self) -> float:
        """Return the next number, from 0 to less than 1."""
        low, high = (float(half) for half in self._bits.random_raw(2))
        return min((low + high * 2.0**32) / 2.0**64, float(np.nextafter(1.0, 0.0)))


def weights_temperature(sampling: SamplingParams) -> float | None:
    """Return the temperature at which the weights of all tokens are needed, or None if they are not."""
    if sampling.top_k > 0:
        return None
    if sampling.top_p < 1:
        return 1.0  # top_p comes before the temperature
    return None if sampling.min_p > 0 else sampling.temperature


def needs_leaders(sampling: SamplingParams) -> bool:
    """Return whether few tokens may suffice. At a high temperature without filters, the others have too much weight."""
    has_filter = sampling.top_k > 0 or sampling.top_p < 1 or sampling.min_p > 0
    return has_filter or sampling.temperature < LOW_TEMPERATURE


def choose(sampling: SamplingParams, row: Row, number: float) -> int | None:
    """Return the token that `number` (0 to 1) chooses, or None if that depends on how llama.cpp rounds."""
    if row.leaders is None:
        return _from_all(row.weights, number) if row.weights else None
    if not row.leaders.ids.size:
        return None
    if sampling.top_k > 0 or sampling.top_p < 1:
        return _from_sorted(sampling, row.leaders, row.weights, number)
    if sampling.min_p > 0:
        return _from_likely(sampling, row.leaders, number)
    return _from_all(row.weights, number) if row.weights else _from_leaders(sampling, row.leaders, number)


def _from_sorted(sampling: SamplingParams, found: Leaders, weights: Weights | None, number: float) -> int | None:
    """Choose as llama.cpp does after `top_k` or `top_p`, which sort the candidates."""
    if found.ids.size < sampling.top_k and not found.are_all:
        return None
    order = np.argsort(-found.logits)
    if sampling.top_k > 0:
        order = order[: sampling.top_k + 1]
    logits = found.logits[order]
    for fewest, most in _cuts(sampling, found, weights, logits):
        # Only llama.cpp knows how it orders tokens with the same logit.
        if (np.diff(logits[: most + 1]) == 0).any():
            return None
        sums = np.cumsum(_weights_of(logits[:most], sampling.temperature), dtype=np.float64)
        at = _find(sums, number, float(sums[fewest - 1]), float(sums[most - 1]))
        if at is not None:
            return int(found.ids[order[at]])
    return None


def _cuts(
    sampling: SamplingParams, found: Leaders, weights: Weights | None, logits: NDArray[np.float32]
) -> Iterator[tuple[int, int]]:
    """Yield the fewest and the most of the sorted tokens that llama.cpp may keep, from rough to narrow bounds."""
    size = logits.size if sampling.top_k <= 0 else min(logits.size, sampling.top_k)
    likely_low = likely_high = size
    if sampling.min_p > 0:
        low, high = _least_logit(logits[0], sampling.min_p)
        likely_low, likely_high = (max(1, int(np.count_nonzero(logits[:size] >= least))) for least in (high, low))
    if sampling.top_p >= 1:
        yield likely_low, likely_high
        return
    is_complete = sampling.top_k > 0 or found.are_all
    top_p = float(np.float32(sampling.top_p))
    for sums, total, error in _sums(weights, _weights_of(logits[:size], 1.0)):
        fewest = 1 + int(np.searchsorted(sums, top_p * total * (1 - error)))
        most = 1 + int(np.searchsorted(sums, top_p * total * (1 + error)))
        if most <= size or is_complete:
            yield min(fewest, likely_low), min(most, likely_high)


def _sums(
    all_weights: Weights | None, weights: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.float64], float, float]]:
    """Yield the sums of sorted weights, what `top_p` compares them with, and by how much llama.cpp's may differ.

    First in double precision, then in the order and precision of llama.cpp, which takes longer.
    """
    sums = np.cumsum(weights, dtype=np.float64)
    if all_weights is None:
        # What is not listed weighs less than the rounding, or does not count.
        yield sums, float(sums[-1]), 2 * ROUNDING + 2 * SINGLE * (weights.size + 2)
        return
    yield sums, all_weights.total, ROUNDING + SINGLE * (all_weights.each.size + weights.size + 2)
    total = np.cumsum(all_weights.each)[-1]
    yield np.cumsum(weights / total).astype(np.float64), 1.0, SAME_ORDER


def _from_likely(sampling: SamplingParams, found: Leaders, number: float) -> int | None:
    """Choose as llama.cpp does after `min_p` alone, which keeps the order of the candidates."""
    low, high = _least_logit(found.logits.max(), sampling.min_p)
    if low <= found.bound and not found.are_all:
        return None
    kept = np.flatnonzero(found.logits >= high)
    if np.count_nonzero(found.logits >= low) != kept.size:
        return None
    sums = np.cumsum(_weights_of(found.logits[kept], sampling.temperature), dtype=np.float64)
    at = _find(sums, number, float(sums[-1]), float(sums[-1]))
    return None if at is None else int(found.ids[kept[at]])


def _from_leaders(sampling: SamplingParams, found: Leaders, number: float) -> int | None:
    """Choose as llama.cpp does without filters, where the other tokens have next to no weight."""
    unlisted = found.unlisted_weight(sampling.temperature)
    sums = np.cumsum(_weights_of(found.logits, sampling.temperature), dtype=np.float64)
    at = _find(sums, number, float(sums[-1]), float(sums[-1]) + unlisted, unlisted)
    return None if at is None else int(found.ids[at])


def _from_all(all_weights: Weights, number: float) -> int | None:
    """Choose as llama.cpp does without filters: from all tokens, in the order of their ids."""
    weights, total = all_weights.each, all_weights.total
    length = weights.size // STRETCHES
    stretches = np.cumsum(weights[: length * STRETCHES].reshape(STRETCHES, length).sum(axis=1), dtype=np.float64)
    stretch = int(np.searchsorted(stretches, number * total))
    before = float(stretches[stretch - 1]) if stretch else 0.0
    start = stretch * length
    end = start + length if stretch < STRETCHES else weights.size
    sums = before + np.cumsum(weights[start:end], dtype=np.float64)
    at = _find(sums, number, total, total, before=before)
    return None if at is None else start + at


def _weights_of(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    divided = logits / np.float32(temperature)
    weights: NDArray[np.float32] = np.exp(divided - divided.max())
    return weights


def _least_logit(largest: np.float32, min_p: float) -> tuple[float, float]:
    """Return the bounds of the least logit that `min_p` keeps: log may be rounded in another way."""
    least = float(largest) + float(np.log(np.float32(min_p)))
    error = 2.0**-21 * (abs(float(largest)) + abs(least))
    return least - error, least + error


def _find(
    sums: NDArray[np.float64], number: float, least: float, greatest: float, unlisted: float = 0.0, before: float = 0.0
) -> int | None:
    """Return where the sums first reach `number` times the total, which is between `least` and `greatest`.

    Tokens of `unlisted` weight may be anywhere between those that are listed. Return None if it depends on them, or on
    rounding. `before` is the sum before the first of `sums`.
    """
    at = int(np.searchsorted(sums, number * least))
    if at == sums.size:
        return None
    below = float(sums[at - 1]) if at else before
    is_above = (below + unlisted) * (1 + ROUNDING) < number * least * (1 - ROUNDING)
    is_reached = float(sums[at]) * (1 - ROUNDING) >= number * greatest * (1 + ROUNDING)
    return at if is_above and is_reached else None
