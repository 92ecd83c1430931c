"""The pieces in which prompts are computed, where attention is computed in tiles of query rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.engine.prompt_pieces import PieceLimits, PromptPieces
from inference.engine.stream_cache import StreamCache
from tests.unit.inference.driver import Driver
from tests.unit.inference.test_scheduler import endless, request

TILE = 64


def lengths(prompt: int, limits: PieceLimits, *, beside: int = 1, tile: int = TILE) -> list[int]:
    """Return the pieces of a prompt that is the only one, a step for each."""
    found: list[int] = []
    while sum(found) < prompt:
        pieces = PromptPieces(tile, 256, beside=beside, equal=beside > 0)
        found.append(pieces.choose(prompt - sum(found), limits))
        assert found[-1] > 0
    return found


@pytest.mark.parametrize(
    ("prompt", "limits", "expected"),
    [
        (65 * 3, PieceLimits(30, 70), [65, 65, 65]),
        (65 * 3 + 4, PieceLimits(30, 70), [69, 65, 65]),
        (65 * 3 + 20, PieceLimits(30, 70), [20, 65, 65, 65]),
        (65 * 3 + 50, PieceLimits(30, 70), [30, 20, 65, 65, 65]),
        (129 * 2 + 70, PieceLimits(30, 130), [129, 129, 70]),
        (129 * 2 + 10, PieceLimits(30, 150), [129, 139]),
        (129 * 2 + 50, PieceLimits(30, 130), [129, 65, 114]),
        (50, PieceLimits(30, 70), [30, 20]),
        (100, PieceLimits(30, 64), [30, 30, 30, 10]),
    ],
)
def test_pieces_beside_decoding_fill_whole_tiles(prompt: int, limits: PieceLimits, expected: list[int]) -> None:
    assert lengths(prompt, limits) == expected


def test_a_prompt_alone_leaves_a_tile_for_its_last_piece() -> None:
    alone = PieceLimits.of(256)
    assert lengths(800, alone, beside=0) == [256, 256, 192, 96]
    assert lengths(600, alone, beside=0) == [256, 256, 88]
    assert lengths(250, alone, beside=0) == [250]


def test_without_tiles_each_piece_takes_what_it_may() -> None:
    assert lengths(100, PieceLimits.of(30), tile=1) == [30, 30, 30, 10]


@given(prompt=st.integers(1, 2000), short=st.integers(1, 64), tiled=st.integers(1, 256), beside=st.integers(0, 9))
def test_a_piece_is_short_only_if_no_tile_fits_or_odd_tokens_are_left(
    prompt: int, short: int, tiled: int, beside: int
) -> None:
    found = lengths(prompt, PieceLimits(short, tiled), beside=beside)
    assert sum(found) == prompt
    tiles = [length for length in found if length >= TILE + beside]
    rest = [length for length in found if length < TILE + beside]
    assert max(tiles, default=0) <= tiled
    assert max(rest, default=0) <= short
    if tiled >= TILE + beside:
        assert sum(rest) < TILE + beside
    else:
        assert not tiles


def test_a_long_prompt_waits_where_its_piece_would_be_cut_below_a_tile() -> None:
    pieces = PromptPieces(TILE, 250, beside=1, equal=True)
    assert pieces.choose(20, PieceLimits(40, 100)) == 20
    assert pieces.choose(500, PieceLimits(40, 100)) == 0, "20 of its rows would fill no tile"
    assert pieces.choose(30, PieceLimits(40, 100)) == 20, "it fills no tile in any case"


def test_the_pieces_of_a_step_share_its_time() -> None:
    pieces = PromptPieces(TILE, 256, beside=1, equal=True)
    assert pieces.choose(500, PieceLimits(40, 140)) == 129
    assert pieces.choose(500, PieceLimits(40, 140)) == 0
    pieces = PromptPieces(TILE, 256, beside=1, equal=True)
    assert [pieces.choose(65, PieceLimits(40, 140)) for _ in range(3)] == [65, 65, 0]


def test_prompts_alone_share_a_step_if_both_fill_tiles() -> None:
    alone = PieceLimits.of(256)
    pieces = PromptPieces(TILE, 256, beside=0, equal=False)
    assert [pieces.choose(pending, alone) for pending in (90, 500, 500)] == [90, 128, 0]
    pieces = PromptPieces(TILE, 256, beside=0, equal=False)
    assert [pieces.choose(pending, alone) for pending in (200, 500, 30)] == [200, 0, 30]


def test_the_scheduler_cuts_prompts_beside_drafts_into_tiles() -> None:
    driver = Driver(slots=2, sequences=2, cells=2000, step_tokens=256, layout=StreamCache, tile=TILE)
    driver.submit(request("stream", endless(40), max_tokens=40))
    driver.step()
    driver.submit(request("long", [97] * (3 * (3 + TILE)), max_tokens=1))
    assert driver.step(PieceLimits(30, 80), drafts={"stream": [1, 2]}).pieces == [(0, 3 + TILE)]
