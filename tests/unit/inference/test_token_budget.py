"""The number of prompt tokens in a step, and drafts from the prompt."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inference.engine.prompt_lookup import PromptLookup
from inference.engine.prompt_pieces import PieceLimits
from inference.engine.token_budget import LEAST_STEPS, LEAST_TOKENS, TokenBudget

TILE = 64


def run_steps(budget: TokenBudget, seconds_per_token: Callable[[int, int], float], steps: int = 50) -> float:
    """Return how long the last of some steps takes, in which the prompt of an ever new sequence is computed."""
    seconds, start = 0.0, 0
    for _ in range(steps):
        budget.observe([], 8, 0.050)
        limits = budget.limits(8, start)
        count = limits.tiled if limits.tiled > TILE else limits.short
        seconds = 0.050 + count * seconds_per_token(count, start)
        budget.observe([(start, count)], 8, seconds)
        start = (start + count) % 800
    return seconds


@pytest.mark.parametrize(("gap", "longest"), [(0.250, 0.250), (0.010, LEAST_STEPS * 0.050)])
def test_a_step_with_a_piece_of_a_prompt_is_no_longer_than_the_gap(gap: float, longest: float) -> None:
    assert run_steps(TokenBudget(512, gap), lambda *_: 0.001) == pytest.approx(longest, abs=0.002)


def test_pieces_never_get_too_small_or_too_large() -> None:
    slow, fast = TokenBudget(512, 0.250), TokenBudget(512, 0.250)
    slow.observe([], 1, 0.001)
    slow.observe([(0, 10)], 1, 5.0)
    fast.observe([], 1, 0.001)
    fast.observe([(0, 1000)], 1, 0.0011)
    assert (slow.limits(1, 0), fast.limits(1, 0)) == (PieceLimits.of(LEAST_TOKENS), PieceLimits.of(512))


def test_the_first_piece_fills_a_tile() -> None:
    assert TokenBudget(512, 0.250, TILE).limits(1, 0).tiled == TILE + 1


def test_tokens_that_fill_a_tile_are_measured_apart_from_others() -> None:
    budget = TokenBudget(512, 0.250, TILE)
    budget.observe([], 7, 0.050)
    for _ in range(20):
        budget.observe([(0, 20)], 7, 0.050 + 20 * 0.005)
        budget.observe([(0, TILE + 1)], 7, 0.050 + (TILE + 1) * 0.002)
    assert (budget.limits(7, 0).short, budget.limits(7, 0).tiled) == (pytest.approx(40, abs=1), 100)


def test_a_step_may_be_a_little_longer_for_the_sake_of_a_tile() -> None:
    budget = TokenBudget(512, 0.250, TILE)
    budget.observe([], 7, 0.050)
    for seconds, tiled in ((0.290, TILE + 1), (0.320, 48)):
        for _ in range(50):
            budget.observe([(0, TILE + 1)], 7, seconds)
        assert budget.limits(7, 0).tiled == pytest.approx(tiled, abs=2)
        assert (budget.limits(7, 0).tiled > TILE) == (tiled > TILE)


def test_a_step_in_which_the_machine_paused_counts_for_little() -> None:
    budget = TokenBudget(512, 0.250, TILE)
    for _ in range(20):
        budget.observe([], 1, 0.050)
        budget.observe([(0, TILE + 1)], 1, 0.180)
    budget.observe([(0, TILE + 1)], 1, 3.0)
    assert budget.limits(1, 0).tiled > TILE


def test_a_tile_is_tried_again_once_fewer_tokens_show_that_it_fits() -> None:
    budget = TokenBudget(512, 0.250, TILE)
    budget.observe([], 1, 0.050)
    for _ in range(3):
        budget.observe([(0, TILE + 1)], 1, 1.0)
    assert budget.limits(1, 0).tiled < TILE
    for _ in range(20):
        budget.observe([(0, 16)], 1, 0.050 + 16 * 0.002)
    assert budget.limits(1, 0).tiled == 100


def test_a_longer_context_makes_tokens_dearer_and_more_sequences_make_steps_longer() -> None:
    budget = TokenBudget(512, 0.250)
    for start in [0, 200, 400, 600, 800] * 4:
        budget.observe([], 1 + start // 200, 0.010 * (1 + start // 200))
        budget.observe([(start, 50)], 3, 0.030 + 50 * (0.001 + 0.001 * start / 400))
    assert budget.limits(3, 0).tiled == pytest.approx(220, rel=0.1)
    assert budget.limits(3, 800).tiled == pytest.approx(220 / 3, rel=0.1)
    assert budget.limits(5, 800).tiled == pytest.approx(200 / 3, rel=0.1)


def test_steps_keep_the_gap_where_tokens_of_short_pieces_and_long_contexts_cost_more() -> None:
    seconds = lambda count, start: (0.002 if count > TILE else 0.003) * (1 + start / 1600)  # noqa: E731
    assert run_steps(TokenBudget(512, 0.250, TILE), seconds, 200) <= 0.260


def test_lookup_continues_the_last_occurrence() -> None:
    assert PromptLookup().draft([1, 2, 3, 4, 5, 9, 1, 2, 3], 3) == [4, 5, 9]
    assert PromptLookup().draft([1, 2, 3, 4], 3) == []


def test_lookup_pauses_when_its_drafts_are_wrong() -> None:
    lookup = PromptLookup()
    tokens = [1, 2, 3, 4, 5, 9, 1, 2, 3]
    for _ in range(10):
        lookup.observe(len(lookup.draft(tokens, 8)), 0)
    assert lookup.draft(tokens, 8) == []
