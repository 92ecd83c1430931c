"""The number of prompt tokens in a step, and drafts from the prompt."""

from __future__ import annotations

import pytest

from inference.engine.prompt_lookup import PromptLookup
from inference.engine.token_budget import LEAST_TOKENS, LONGEST_STEP, TokenBudget


def test_pieces_of_prompts_keep_steps_short() -> None:
    budget = TokenBudget(512)
    for _ in range(50):
        budget.observe(0, 8, 0.050)
        budget.observe(budget.prompt_tokens, 8, 0.050 + budget.prompt_tokens * 0.002)
    assert budget.prompt_tokens == pytest.approx((LONGEST_STEP - 1) * 0.050 / 0.002, abs=2)


def test_pieces_never_get_too_small_or_too_large() -> None:
    slow, fast = TokenBudget(512), TokenBudget(512)
    slow.observe(0, 1, 0.001)
    slow.observe(10, 1, 5.0)
    fast.observe(0, 1, 1.0)
    fast.observe(1000, 1, 1.0001)
    assert (slow.prompt_tokens, fast.prompt_tokens) == (LEAST_TOKENS, 512)


def test_lookup_continues_the_last_occurrence() -> None:
    assert PromptLookup().draft([1, 2, 3, 4, 5, 9, 1, 2, 3], 3) == [4, 5, 9]
    assert PromptLookup().draft([1, 2, 3, 4], 3) == []


def test_lookup_pauses_when_its_drafts_are_wrong() -> None:
    lookup = PromptLookup()
    tokens = [1, 2, 3, 4, 5, 9, 1, 2, 3]
    for _ in range(10):
        lookup.observe(len(lookup.draft(tokens, 8)), 0)
    assert lookup.draft(tokens, 8) == []
