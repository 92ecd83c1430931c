"""The number of prompt tokens in a step, the size of a context, and drafts from the prompt."""

from __future__ import annotations

import pytest

from core.errors import ConfigurationError
from core.settings import load_settings
from inference.engine.context_size import choose_context_size
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


def chosen_size(free_bytes: int, trained: int = 8192, **values: object) -> tuple[int, int]:
    settings = load_settings(_env_file=None, inference_slots=4, **values)
    size = choose_context_size(
        settings, trained_tokens=trained, cell_bytes=1000, free_bytes=free_bytes, batch_tokens=256, most_sequences=256
    )
    return size.context_length, size.cells


def test_all_slots_get_a_context_if_memory_allows() -> None:
    assert chosen_size(10**9) == (2048, 4 * 2048 + 256)
    assert chosen_size(8_000_000) == (2048, 4000)


def test_a_context_is_not_longer_than_the_model_was_trained_for() -> None:
    assert chosen_size(10**9, trained=512)[0] == 512


def test_too_little_memory_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match="CONTEXT_LENGTH=2048"):
        chosen_size(1_000_000)


def test_lookup_continues_the_last_occurrence() -> None:
    assert PromptLookup().draft([1, 2, 3, 4, 5, 9, 1, 2, 3], 3) == [4, 5, 9]
    assert PromptLookup().draft([1, 2, 3, 4], 3) == []


def test_lookup_pauses_when_its_drafts_are_wrong() -> None:
    lookup = PromptLookup()
    tokens = [1, 2, 3, 4, 5, 9, 1, 2, 3]
    for _ in range(10):
        lookup.observe(len(lookup.draft(tokens, 8)), 0)
    assert lookup.draft(tokens, 8) == []
