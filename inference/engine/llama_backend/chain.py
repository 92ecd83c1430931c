"""llama.cpp's own samplers, in a chain over all tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from core.messages import SamplingParams
from inference.engine.llama_backend.batch import pointer
from inference.engine.logit_changes import REPEAT_WINDOW_TOKENS

#: The layout of `llama_token_data`.
_TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Chain:
    """A chain of llama.cpp's samplers with the state of one sequence."""

    def __init__(
        self,
        sampling: SamplingParams,
        bias: dict[int, float],
        seed: int,
        prompt: Sequence[int],
        generated: Sequence[int],
        context_length: int,
        vocab_size: int,
    ) -> None:
        self._vocab_size = vocab_size
        self._chain: Any = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        self._add_bias(bias)
        self._add_penalties(sampling, prompt, context_length)
        self._add_choice(sampling, seed, len(generated))
        for token in generated:
            self.accept(token)

    def choose(self, logits: NDArray[np.float32]) -> int:
        """Return the token that the chain chooses from all tokens."""
        candidates = np.empty(logits.size, _TOKEN_DATA)
        candidates["id"] = np.arange(logits.size)
        candidates["logit"] = logits
        array = _candidates_array(candidates)
        llama.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def accept(self, token: int) -> None:
        """Remember a token that was chosen."""
        llama.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        if self._chain:
            llama.llama_sampler_free(self._chain)
            self._chain = None

    def _add(self, sampler: Any) -> None:
        llama.llama_sampler_chain_add(self._chain, sampler)

    def _add_bias(self, bias: dict[int, float]) -> None:
        if bias:
            table = (llama.llama_logit_bias * len(bias))(*(llama.llama_logit_bias(*one) for one in bias.items()))
            self._add(llama.llama_sampler_init_logit_bias(self._vocab_size, len(bias), table))

    def _add_penalties(self, sampling: SamplingParams, prompt: Sequence[int], context_length: int) -> None:
        if sampling.repeat_penalty != 1.0:
            repeat = llama.llama_sampler_init_penalties(
                self._vocab_size, REPEAT_WINDOW_TOKENS, sampling.repeat_penalty, 0.0, 0.0
            )
            for token in prompt[-REPEAT_WINDOW_TOKENS:]:
                llama.llama_sampler_accept(repeat, token)
            self._add(repeat)
        if sampling.frequency_penalty or sampling.presence_penalty:
            # Over the whole answer, and not over the prompt, as OpenAI defines them.
            penalties = sampling.frequency_penalty, sampling.presence_penalty
            self._add(llama.llama_sampler_init_penalties(self._vocab_size, context_length, 1.0, *penalties))

    def _add_choice(self, sampling: SamplingParams, seed: int, drawn: int) -> None:
        """Add the filters and the random draw. Earlier tokens have used `drawn` random numbers."""
        if sampling.top_k > 0:
            self._add(llama.llama_sampler_init_top_k(sampling.top_k))
        if sampling.typical_p < 1:
            self._add(llama.llama_sampler_init_typical(sampling.typical_p, 1))
        if sampling.top_p < 1:
            self._add(llama.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0:
            self._add(llama.llama_sampler_init_min_p(sampling.min_p, 1))
        self._add(llama.llama_sampler_init_temp(sampling.temperature))
        draw = llama.llama_sampler_init_dist(seed)
        _skip_draws(draw, drawn)
        self._add(draw)


def _candidates_array(candidates: NDArray[Any]) -> Any:
    data = pointer(candidates, llama.llama_token_data)
    return llama.llama_token_data_array(data=data, size=candidates.size, selected=-1, sorted=False)


def _skip_draws(draw: Any, count: int) -> None:
    """Advance the random state of a `dist` sampler by making `count` choices between two made-up tokens."""
    pair = np.zeros(2, _TOKEN_DATA)
    array = _candidates_array(pair)
    for _ in range(count):
        llama.llama_sampler_apply(draw, ctypes.byref(array))
