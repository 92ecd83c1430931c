"""The rows of logits of a step, computed for all samplers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.engine.candidates import Leaders, Weights, extended, leaders
from inference.engine.drawing import ROUNDING, Row
from inference.engine.llama_backend.soft_max import exp_and_sum
from inference.engine.logit_changes import LogitChanges

#: Below exp(-87) there are no normal numbers in single precision.
LARGEST_EXPONENT = 86.0
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
#: What a mask adds to eight logits, for each value of a byte.
_ADDED = np.where(_BITS == 0, -np.inf, 0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class RowRequest:
    """What a sampler needs of a row."""

    #: One bit for each token, least significant bit first: 0 rules the token out.
    mask: bytes | None
    changes: LogitChanges
    #: At least so many of the tokens with the largest logits; 0: none.
    count: int
    #: The temperature at which the weights of all tokens are needed if the leaders do not suffice.
    temperature: float | None
    #: Leaders with this share of all weights, at least.
    share: float


class StepRows:
    """Computes what samplers need of the rows of a step when the first of them asks."""

    def __init__(self) -> None:
        self._logits = np.empty((0, 0), np.float32)
        self._weights = np.empty((0, 0), np.float32)
        self._expected: dict[int, RowRequest] = {}
        self._computed: dict[int, Row] = {}

    def begin(self, logits: NDArray[np.float32]) -> None:
        """Forget the last step. `logits` has a line for each row of the new one; masks change them."""
        self._logits = logits
        self._expected.clear()
        self._computed.clear()

    def expect(self, line: int, request: RowRequest) -> None:
        """Announce what is needed of a row."""
        self._expected[line] = request

    def is_expected(self, line: int) -> bool:
        return line in self._expected or line in self._computed

    def row(self, line: int) -> Row:
        """Return what was requested of a row, and compute it for all rows that were announced."""
        if line not in self._computed:
            self._compute()
        return self._computed[line]

    def _compute(self) -> None:
        requests = dict(sorted(self._expected.items()))
        self._expected.clear()
        originals = [(line, self._change(line, request)) for line, request in requests.items()]
        with_leaders = [line for line, request in requests.items() if request.count]
        try:
            found: dict[int, Leaders] = {}
            if with_leaders:
                count = max(request.count for request in requests.values())
                found = dict(zip(with_leaders, leaders(self._block(with_leaders), count), strict=True))
            for line, request in requests.items():
                self._computed[line] = self._row(line, request, found.get(line))
        finally:
            for line, original in originals:
                if original is not None:
                    self._logits[line][original[0]] = original[1]

    def _row(self, line: int, request: RowRequest, found: Leaders | None) -> Row:
        if request.temperature is None or (found and found.unlisted_weight(request.temperature) <= ROUNDING):
            return Row(found, None)
        weights = self._weights_of(line, np.float32(request.temperature), is_masked=request.mask is not None)
        if found is not None and request.share:
            found = extended(found, self._logits[line], weights, request.share)
        return Row(found, weights)

    def _weights_of(self, line: int, temperature: np.float32, *, is_masked: bool) -> Weights:
        if len(self._weights) < len(self._logits):
            self._weights = np.empty_like(self._logits)
        logits, each = self._logits[line], self._weights[line]
        # Rounded as llama.cpp does: by a division, then a difference.
        divided = logits if temperature == 1 else np.divide(logits, temperature, out=each)
        largest = float(divided.max())
        if is_masked or temperature < 1:
            # exp takes many times as long where it underflows. This adds less than 1e-30 to a sum of at least 1.
            # (`clip` takes half of `maximum`'s time.)
            divided = np.clip(divided, np.float32(largest - LARGEST_EXPONENT), np.float32(np.inf), out=each)
        return Weights(each, exp_and_sum(divided, largest, each))

    def _change(self, line: int, request: RowRequest) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
        """Apply the mask, for good, and the changes. Return the tokens whose logits are changed, and these before."""
        logits = self._logits[line]
        if request.mask is not None:
            apply_mask(logits, request.mask)
        if (change := request.changes.of(logits)) is None:
            return None
        ids, changed = change
        originals = logits[ids]
        logits[ids] = changed
        return ids, originals

    def _block(self, lines: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits of these lines, without a copy if they follow one another."""
        if lines[-1] - lines[0] + 1 == len(lines):
            return self._logits[lines[0] : lines[-1] + 1]
        return self._logits[lines]


def apply_mask(logits: NDArray[np.float32], mask: bytes) -> None:
    """Rule out the tokens whose bit in `mask` is 0."""
    logits += _ADDED.take(np.frombuffer(mask, np.uint8), axis=0).reshape(-1)[: logits.size]
