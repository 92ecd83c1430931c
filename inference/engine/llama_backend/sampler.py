"""Token samplers: the likeliest token, a random one as llama.cpp draws it, and llama.cpp's own chain of samplers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.messages import SamplingParams
from inference.engine.drawing import RandomNumbers, choose, needs_leaders, weights_temperature
from inference.engine.llama_backend.chain import Chain
from inference.engine.llama_backend.step_rows import RowRequest, StepRows, apply_mask
from inference.engine.logit_changes import LogitChanges
from inference.engine.model_files import ModelInfo

#: How many of the tokens with the largest logits are looked at first.
LEADERS = 128
#: With a larger `top_k`, llama.cpp's chain is as fast.
MOST_LEADERS = 1024
#: Below it, the likeliest token is taken: logits divided by less would be infinite.
LEAST_TEMPERATURE = 1e-6


class LoadedModel(Protocol):
    """What samplers need from a loaded model: `logits` are float32 [vocab_size] of a row of the last batch."""

    vocab_size: int
    end_tokens: frozenset[int]
    model: ModelInfo
    step_rows: StepRows

    def logits(self, row: int) -> NDArray[np.float32]: ...

    def line(self, row: int) -> int:
        """Return the number of a row among those of the last batch that have logits."""


class GreedySampler:
    """Chooses the likeliest token."""

    def __init__(self, backend: LoadedModel, changes: LogitChanges) -> None:
        self._backend = backend
        self._changes = changes
        self._last = 0

    def expect(self, rows: range, mask: bytes | None = None) -> None:
        if mask is not None:
            apply_mask(self._backend.logits(rows[0]), mask)

    def sample(self, row: int) -> int:
        logits = self._backend.logits(row)
        if (changed := self._changes.of(logits)) is not None:
            logits = logits.copy()
            logits[changed[0]] = changed[1]
        self._last = int(logits.argmax())
        self._changes.add(self._last)
        return self._last

    def remember(self, token: int) -> None:
        self._changes.replace(self._last, token)

    def close(self) -> None:
        """Do nothing, because this sampler holds no memory of llama.cpp."""


class RandomSampler:
    """Draws the token that llama.cpp's chain would draw, from the few tokens that it can be."""

    def __init__(
        self,
        backend: LoadedModel,
        sampling: SamplingParams,
        seed: int,
        prompt: Sequence[int],
        generated: Sequence[int],
    ) -> None:
        self._backend = backend
        self._sampling, self._seed, self._prompt = sampling, seed, prompt
        self._generated = list(generated)
        self._changes = LogitChanges(sampling, bias_of(sampling, backend), prompt, generated)
        self._numbers = RandomNumbers(seed, len(generated))
        self._count = max(LEADERS, sampling.top_k) if needs_leaders(sampling) else 0
        self._temperature = weights_temperature(sampling)
        #: How many tokens llama.cpp's chain had to choose.
        self.undecided = 0

    def expect(self, rows: range, mask: bytes | None = None) -> None:
        share = self._sampling.top_p if self._sampling.top_p < 1 and self._sampling.top_k <= 0 else 0.0
        # A little more: llama.cpp's sums differ by rounding.
        request = RowRequest(mask, self._changes, self._count, self._temperature, min(1.0, 1.01 * share))
        for row in rows[:1] if self._changes.depend_on_tokens else rows:
            self._backend.step_rows.expect(self._backend.line(row), request)

    def sample(self, row: int) -> int:
        line = self._backend.line(row)
        if not self._backend.step_rows.is_expected(line):
            self.expect(range(row, row + 1))
        token = choose(self._sampling, self._backend.step_rows.row(line), self._numbers.next())
        if token is None:
            token = self._choice_of_chain(row)
        self._generated.append(token)
        self._changes.add(token)
        return token

    def remember(self, token: int) -> None:
        self._changes.replace(self._generated[-1], token)
        self._generated[-1] = token

    def close(self) -> None:
        """Do nothing, because this sampler holds no memory of llama.cpp."""

    def _choice_of_chain(self, row: int) -> int:
        self.undecided += 1
        chain = create_chain(self._backend, self._sampling, self._seed, self._prompt, self._generated)
        token = chain.choose(self._backend.logits(row))
        chain.close()
        return token


class ChainSampler:
    """llama.cpp's chain of samplers over all tokens."""

    def __init__(self, backend: LoadedModel, chain: Chain) -> None:
        self._backend = backend
        self._chain = chain
        #: The last token, as long as another one may come instead of it.
        self._last: int | None = None

    def expect(self, rows: range, mask: bytes | None = None) -> None:
        if mask is not None:
            apply_mask(self._backend.logits(rows[0]), mask)

    def sample(self, row: int) -> int:
        if self._last is not None:
            self._chain.accept(self._last)
        self._last = self._chain.choose(self._backend.logits(row))
        return self._last

    def remember(self, token: int) -> None:
        self._last = token

    def close(self) -> None:
        self._chain.close()


def create_sampler(
    backend: LoadedModel, sampling: SamplingParams, seed: int, prompt: Sequence[int], generated: Sequence[int]
) -> GreedySampler | RandomSampler | ChainSampler:
    """Return the sampler for these parameters, in the state that it has after the `generated` tokens."""
    if sampling.temperature < LEAST_TEMPERATURE:
        return GreedySampler(backend, LogitChanges(sampling, bias_of(sampling, backend), prompt, generated))
    if sampling.typical_p < 1 or sampling.top_k > MOST_LEADERS:
        return ChainSampler(backend, create_chain(backend, sampling, seed, prompt, generated))
    return RandomSampler(backend, sampling, seed, prompt, generated)


def create_chain(
    backend: LoadedModel, sampling: SamplingParams, seed: int, prompt: Sequence[int], generated: Sequence[int]
) -> Chain:
    """Return llama.cpp's chain for these parameters, in the state that it has after the `generated` tokens."""
    bias = bias_of(sampling, backend)
    return Chain(sampling, bias, seed, prompt, generated, backend.model.context_length, backend.vocab_size)


def bias_of(sampling: SamplingParams, backend: LoadedModel) -> dict[int, float]:
    """Return what is added to the logits, by token."""
    bias = dict(sampling.logit_bias)
    if sampling.ignore_eos:
        bias.update(dict.fromkeys(backend.end_tokens, -np.inf))
    return bias
