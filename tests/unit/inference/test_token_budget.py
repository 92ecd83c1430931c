"""The number of prompt tokens in a step, and drafts from the prompt."""

from __future__ import annotations

import pytest

from inference.engine.prompt_lookup import PromptLookup
from inference.engine.token_budget import LEAST_STEPS, LEAST_TOKENS, TokenBudget


@pytest.mark.parametrize(("gap", "longest"), [(0.250, 0.250), (0.010, LEAST_STEPS * 0.050)])
def test_a_step_with_a_piece_of_a_prompt_is_no_longer_than_the_gap(gap: float, longest: float) -> None:
    budget = TokenBudget(512, gap)
    for _ in range(50):
        budget.observe(0, 8, 0.050)
        budget.observe(budget.prompt_tokens, 8, 0.050 + budget.prompt_tokens * 0.001)
    assert 0.050 + budget.prompt_tokens * 0.001 == pytest.approx(longest, abs=0.002)


def test_pieces_never_get_too_small_or_too_large() -> None:
    slow, fast = TokenBudget(512, 0.250), TokenBudget(512, 0.250)
    slow.observe(0, 1, 0.001)
    slow.observe(10, 1, 5.0)
    fast.observe(0, 1, 0.001)
    fast.observe(1000, 1, 0.0011)
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
