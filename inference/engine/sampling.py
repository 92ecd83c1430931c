"""Sampling parameters: their bounds, the seed, and log probabilities."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidRequest
from core.messages import SamplingParams, TokenLogprob
from inference.engine.backend import Tokenizer

MAX_STOP_STRINGS = 16
MAX_STOP_CHARACTERS = 256
MAX_TOP_LOGPROBS = 20
MAX_LOGIT_BIAS = 100.0
MAX_LOGIT_BIAS_ENTRIES = 1024
_SEEDS = 2**32 - 1

#: Name, minimum and maximum, both inclusive.
_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0.0, 2.0),
    ("top_p", 0.0, 1.0),
    ("min_p", 0.0, 1.0),
    ("typical_p", 0.0, 1.0),
    ("presence_penalty", -2.0, 2.0),
    ("frequency_penalty", -2.0, 2.0),
    ("repeat_penalty", 0.01, 10.0),
    ("top_k", -1, 2**31 - 1),
    ("top_logprobs", 0, MAX_TOP_LOGPROBS),
)


def check_sampling(sampling: SamplingParams, vocab_size: int) -> None:
    """Check that all sampling parameters are within their bounds.

    Raises:
        InvalidRequest: naming the parameter, its value and what is allowed.
    """
    for name, least, most in _BOUNDS:
        value = getattr(sampling, name)
        if not math.isfinite(value) or not least <= value <= most:
            raise InvalidRequest(f"{name} is {value}; it must be between {least:g} and {most:g}.", param=name)
    if sampling.seed is not None and not -(2**63) <= sampling.seed < 2**64:
        raise InvalidRequest("seed must be a 64-bit integer.", param="seed")
    _check_logit_bias(sampling, vocab_size)
    _check_stop(sampling.stop)


def _check_logit_bias(sampling: SamplingParams, vocab_size: int) -> None:
    if len(sampling.logit_bias) > MAX_LOGIT_BIAS_ENTRIES:
        raise InvalidRequest(f"logit_bias may name {MAX_LOGIT_BIAS_ENTRIES} tokens at most.", param="logit_bias")
    for token, bias in sampling.logit_bias.items():
        if not 0 <= token < vocab_size:
            raise InvalidRequest(
                f"logit_bias names token {token}; this model's tokens are 0 to {vocab_size - 1}.", param="logit_bias"
            )
        if not abs(bias) <= MAX_LOGIT_BIAS:
            raise InvalidRequest(
                f"logit_bias of token {token} is {bias}; it must be between -100 and 100.", param="logit_bias"
            )


def _check_stop(stop: Sequence[str]) -> None:
    if len(stop) > MAX_STOP_STRINGS:
        raise InvalidRequest(f"stop has {len(stop)} strings; at most {MAX_STOP_STRINGS} are allowed.", param="stop")
    for text in stop:
        if not text:
            raise InvalidRequest("stop contains an empty string.", param="stop")
        if len(text) > MAX_STOP_CHARACTERS:
            raise InvalidRequest(f"A stop string may have {MAX_STOP_CHARACTERS} characters at most.", param="stop")
        require_unicode(text, "stop")


def require_unicode(text: str, param: str) -> None:
    """Check that a text can be encoded.

    Raises:
        InvalidRequest: if it has a lone surrogate (half of a UTF-16 pair, which malformed JSON escapes produce).
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"{param} is not valid Unicode: a lone surrogate at character {error.start}.", param=param
        ) from None


def seed_of(sampling: SamplingParams) -> int:
    """Return a seed of 32 bits: the requested one, else a random one. 2 ** 32 - 1 means "random" to llama.cpp."""
    return secrets.randbelow(_SEEDS) if sampling.seed is None else sampling.seed % _SEEDS


def token_logprob(
    logits: NDArray[np.float32], token: int, top: int, tokenizer: Tokenizer, *, names: bool = False
) -> TokenLogprob:
    """Return the log probability of `token` and of the `top` best tokens, from raw logits of shape [vocab_size].

    Logarithms are natural. Tokens that a grammar rules out are left out, so there may be fewer than `top`. Control
    tokens have no text, or with `names` the text by which the vocabulary calls them.
    """
    best = float(logits.max())
    total = best + math.log(float(np.exp(logits - best, dtype=np.float32).sum(dtype=np.float64)))
    leaders: list[int] = []
    if top:
        candidates = np.argpartition(logits, -top)[-top:]
        ranked = candidates[np.argsort(-logits[candidates], kind="stable")]
        leaders = [int(one) for one in ranked if math.isfinite(logits[one])]

    def entry(one: int) -> tuple[str, float, list[int]]:
        text, raw = token_entry(one, tokenizer, names=names)
        return text, float(logits[one]) - total, raw

    text, logprob, raw = entry(token)
    return TokenLogprob(text, logprob, raw, [entry(one) for one in leaders])


def token_entry(token: int, tokenizer: Tokenizer, *, names: bool) -> tuple[str, list[int]]:
    """Return the text and the bytes of a token in log probabilities; `names` is explained at `token_logprob`."""
    raw = tokenizer.token_bytes(token)
    text = tokenizer.token_text(token) if names and not raw else raw.decode("utf-8", errors="replace")
    return text, list(raw)
