"""Log probabilities of tokens that a grammar allows, and of those that it rules out."""

from __future__ import annotations

import math

import numpy as np

from inference.engine.sampling import token_logprob


def test_tokens_that_are_ruled_out_have_no_log_probability() -> None:
    logits = np.array([-np.inf, 1.0, -np.inf, 2.0, -np.inf], np.float32)
    found = token_logprob(logits, 1, 4, lambda token: bytes([65 + token]))
    assert [entry[0] for entry in found.top] == ["D", "B"]
    assert math.isclose(sum(math.exp(entry[1]) for entry in found.top), 1, rel_tol=1e-6)
    assert found.token == "B" and found.logprob == found.top[1][1]


def test_the_only_token_that_may_come_is_certain() -> None:
    logits = np.full(5, -np.inf, np.float32)
    logits[2] = -3.0
    found = token_logprob(logits, 2, 3, lambda token: bytes([65 + token]))
    assert found.logprob == 0 and found.top == [("C", 0.0, [67])]
