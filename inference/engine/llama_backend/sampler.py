"""Token samplers: chains of llama.cpp's samplers, and a faster greedy one."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from core.messages import SamplingParams
from inference.engine.model_files import ModelInfo

#: How many of the last tokens `repeat_penalty` considers, prompt included, as in llama.cpp.
REPEAT_WINDOW_TOKENS = 64


class LoadedModel(Protocol):
    """What samplers need from a loaded model: `logits` are float32 [vocab_size] of a row of the last batch."""

    context: Any
    vocab_size: int
    end_tokens: frozenset[int]
    model: ModelInfo

    def logits(self, row: int) -> NDArray[np.float32]: ...


def _sample_function() -> Any:
    """Return `llama_sampler_sample` as a function that keeps the GIL: it is short, and releasing that can cost 5 ms."""
    prototype = ctypes.PYFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)
    return prototype(ctypes.cast(llama._lib.llama_sampler_sample, ctypes.c_void_p).value or 0)


_sample = _sample_function()


class GreedySampler:
    """Chooses the likeliest token, as llama.cpp's greedy sampler does, without building its list of all candidates."""

    def __init__(self, backend: LoadedModel, sampling: SamplingParams) -> None:
        self._backend = backend
        bias = bias_of(sampling, backend)
        self._biased = np.fromiter(bias.keys(), np.int32, len(bias))
        self._biases = np.fromiter(bias.values(), np.float32, len(bias))

    def sample(self, row: int, mask: bytes | None = None) -> int:
        logits = self._backend.logits(row)
        if mask is not None:
            apply_mask(logits, mask)
        if self._biased.size:
            logits = logits.copy()
            logits[self._biased] += self._biases
        return int(logits.argmax())

    def remember(self, token: int) -> None:
        """Do nothing, because the choice does not depend on the tokens before it."""

    def close(self) -> None:
        """Do nothing, because this sampler holds no memory of llama.cpp."""


class LlamaSampler:
    """A chain of llama.cpp's samplers with the state of one sequence."""

    def __init__(
        self,
        backend: LoadedModel,
        sampling: SamplingParams,
        seed: int,
        prompt: Sequence[int],
        generated: Sequence[int],
    ) -> None:
        self._backend = backend
        self._context = backend.context
        self._chain: Any = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        self._add_bias(bias_of(sampling, backend))
        self._add_penalties(sampling, prompt)
        if sampling.temperature <= 0:
            llama.llama_sampler_chain_add(self._chain, llama.llama_sampler_init_greedy())
        else:
            self._add_choice(sampling, seed, len(generated))
        for token in generated:
            llama.llama_sampler_accept(self._chain, token)

    def sample(self, row: int, mask: bytes | None = None) -> int:
        if mask is not None:
            apply_mask(self._backend.logits(row), mask)
        return int(_sample(self._chain, self._context, row))

    def remember(self, token: int) -> None:
        llama.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        if self._chain:
            llama.llama_sampler_free(self._chain)
            self._chain = None

    def _add_bias(self, bias: dict[int, float]) -> None:
        if bias:
            table = (llama.llama_logit_bias * len(bias))(*(llama.llama_logit_bias(*one) for one in bias.items()))
            llama.llama_sampler_chain_add(
                self._chain, llama.llama_sampler_init_logit_bias(self._backend.vocab_size, len(bias), table)
            )

    def _add_penalties(self, sampling: SamplingParams, prompt: Sequence[int]) -> None:
        if sampling.repeat_penalty != 1.0:
            repeat = llama.llama_sampler_init_penalties(
                self._backend.vocab_size, REPEAT_WINDOW_TOKENS, sampling.repeat_penalty, 0.0, 0.0
            )
            for token in prompt[-REPEAT_WINDOW_TOKENS:]:
                llama.llama_sampler_accept(repeat, token)
            llama.llama_sampler_chain_add(self._chain, repeat)
        if sampling.frequency_penalty or sampling.presence_penalty:
            # Over the whole answer, and not over the prompt, as OpenAI defines them.
            counted = llama.llama_sampler_init_penalties(
                self._backend.vocab_size,
                self._backend.model.context_length,
                1.0,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
            llama.llama_sampler_chain_add(self._chain, counted)

    def _add_choice(self, sampling: SamplingParams, seed: int, drawn: int) -> None:
        """Add the filters and the random draw. An earlier attempt has used `drawn` random numbers."""
        if sampling.top_k > 0:
            llama.llama_sampler_chain_add(self._chain, llama.llama_sampler_init_top_k(sampling.top_k))
        if sampling.typical_p < 1:
            llama.llama_sampler_chain_add(self._chain, llama.llama_sampler_init_typical(sampling.typical_p, 1))
        if sampling.top_p < 1:
            llama.llama_sampler_chain_add(self._chain, llama.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0:
            llama.llama_sampler_chain_add(self._chain, llama.llama_sampler_init_min_p(sampling.min_p, 1))
        llama.llama_sampler_chain_add(self._chain, llama.llama_sampler_init_temp(sampling.temperature))
        draw = llama.llama_sampler_init_dist(seed)
        _skip_draws(draw, drawn)
        llama.llama_sampler_chain_add(self._chain, draw)


def create_sampler(
    backend: LoadedModel, sampling: SamplingParams, seed: int, prompt: Sequence[int], generated: Sequence[int]
) -> GreedySampler | LlamaSampler:
    """Return the sampler for these parameters, in the state that it has after the `generated` tokens."""
    if sampling.temperature <= 0 and not has_penalties(sampling):
        return GreedySampler(backend, sampling)
    return LlamaSampler(backend, sampling, seed, prompt, generated)


def has_penalties(sampling: SamplingParams) -> bool:
    """Return whether a token's probability depends on the tokens before it."""
    return sampling.repeat_penalty != 1.0 or bool(sampling.frequency_penalty or sampling.presence_penalty)


def bias_of(sampling: SamplingParams, backend: LoadedModel) -> dict[int, float]:
    """Return what is added to the logits, by token."""
    bias = dict(sampling.logit_bias)
    if sampling.ignore_eos:
        bias.update(dict.fromkeys(backend.end_tokens, -np.inf))
    return bias


def apply_mask(logits: NDArray[np.float32], mask: bytes) -> None:
    """Rule out the tokens whose bit in `mask` is 0."""
    bits = np.unpackbits(np.frombuffer(mask, np.uint8), count=logits.shape[0], bitorder="little")
    logits[bits == 0] = -np.inf


def _skip_draws(draw: Any, count: int) -> None:
    """Advance the random state of a `dist` sampler by making `count` choices between two made-up tokens."""
    for _ in range(count):
        pair = (llama.llama_token_data * 2)(llama.llama_token_data(0, 0.0, 0.0), llama.llama_token_data(1, 0.0, 0.0))
        array = llama.llama_token_data_array(data=pair, size=2, selected=-1, sorted=False)
        llama.llama_sampler_apply(draw, ctypes.byref(array))
