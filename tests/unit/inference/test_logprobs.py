"""Log probabilities of tokens that a grammar allows, and of those that it rules out."""

from __future__ import annotations

import math

import numpy as np

from inference.engine.sampling import token_logprob
from tests.fakes.fake_backend import END, FakeBackend


class Letters(FakeBackend):
    """The fake model's vocabulary, with the letters from A on as its first tokens."""

    def token_bytes(self, token: int) -> bytes:
        return super().token_bytes(65 + token if token < 190 else token)


def test_tokens_that_are_ruled_out_have_no_log_probability() -> None:
    logits = np.array([-np.inf, 1.0, -np.inf, 2.0, -np.inf], np.float32)
    found = token_logprob(logits, 1, 4, Letters())
    assert [entry[0] for entry in found.top] == ["D", "B"]
    assert math.isclose(sum(math.exp(entry[1]) for entry in found.top), 1, rel_tol=1e-6)
    assert found.token == "B" and found.logprob == found.top[1][1]


def test_the_only_token_that_may_come_is_certain() -> None:
    logits = np.full(5, -np.inf, np.float32)
    logits[2] = -3.0
    found = token_logprob(logits, 2, 3, Letters())
    assert found.logprob == 0 and found.top == [("C", 0.0, [67])]


def test_a_control_token_has_no_text_unless_its_name_is_wanted() -> None:
    logits = np.zeros(END + 1, np.float32)
    assert token_logprob(logits, END, 0, FakeBackend()).token == ""
    named = token_logprob(logits, END, 0, FakeBackend(), names=True)
    assert (named.token, named.bytes) == ("<|end|>", [])
