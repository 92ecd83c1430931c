"""The length of a context, the sequences and the cells that are chosen for it, and the memory that there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.available_memory import available_memory_bytes, memory_limit_bytes
from core.errors import ConfigurationError
from core.models.needed_memory import CacheCost
from core.settings import load_settings
from inference.engine.context_size import (
    LONGEST_AUTO_CONTEXT,
    SHORTEST_AUTO_CONTEXT,
    SPARE_CELLS,
    ContextSize,
    Machine,
    choose_context_size,
    smaller,
)

GIB = 2**30


def chosen(free_bytes: int, trained: int = 8192, **values: object) -> ContextSize:
    settings = load_settings(_env_file=None, **{"inference_slots": 4, **values})
    return choose_context_size(settings, Machine(trained, CacheCost(1000), free_bytes, 256, 256))


def in_streams(free_bytes: int, **values: object) -> ContextSize:
    settings = load_settings(_env_file=None, **{"inference_slots": 4, "context_length": 2048, **values})
    return choose_context_size(settings, Machine(8192, CacheCost(1000), free_bytes, 256, 256, wants_streams=True))


@pytest.mark.parametrize(
    ("free_bytes", "slots", "cells", "has_streams"),
    [
        (10**9, 4, 4 * 2304, True),
        (2 * 3 * 2304 * 1000, 3, 3 * 2304, True),  # fewer slots
        (2 * 2 * 2304 * 1000, 2, 2 * 2304, True),
        (2 * 2 * 2304 * 1000 - 2, 4, 4607, False),  # no room for two streams
    ],
)
def test_slots_get_streams_as_far_as_memory_allows(free_bytes: int, slots: int, cells: int, has_streams: bool) -> None:
    size = in_streams(free_bytes)
    assert (size.sequences, size.cells, size.has_streams) == (slots, cells, has_streams)


def test_a_single_slot_has_a_stream() -> None:
    assert in_streams(10**9, inference_slots=1).has_streams


def test_streams_that_cannot_be_allocated_are_shortened() -> None:
    size = smaller(in_streams(10**9, context_length="auto"))
    assert size is not None
    assert (size.context_length, size.cells, size.sequences) == (4096, 4 * 4352, 4)


def sizes(free_bytes: int, trained: int = 8192, **values: object) -> tuple[int, int]:
    size = chosen(free_bytes, trained, **values)
    return size.context_length, size.cells


def test_a_given_length_is_kept_for_all_slots_if_memory_allows() -> None:
    assert sizes(GIB, context_length=2048) == (2048, 4 * 2048 + SPARE_CELLS)
    assert sizes(8_000_000, context_length=2048) == (2048, 4000)
    assert sizes(GIB, trained=512, context_length=2048)[0] == 512


def test_auto_takes_the_models_own_length_with_room_for_two() -> None:
    assert sizes(GIB) == (8192, 2 * 8192 + SPARE_CELLS)
    assert sizes(GIB, trained=131_072) == (LONGEST_AUTO_CONTEXT, 2 * LONGEST_AUTO_CONTEXT + SPARE_CELLS)
    assert sizes(GIB, trained=512) == (512, 4 * 512 + SPARE_CELLS)
    assert sizes(GIB, trained=0) == (SHORTEST_AUTO_CONTEXT, 4 * SHORTEST_AUTO_CONTEXT + SPARE_CELLS)


def test_the_cache_grows_with_the_slots_but_not_by_whole_contexts() -> None:
    assert sizes(GIB, inference_slots=1) == (8192, 8192 + SPARE_CELLS)
    assert sizes(GIB, inference_slots=8) == (8192, 8 * 2048 + SPARE_CELLS)
    assert sizes(GIB, inference_slots=16) == (8192, 16 * 2048 + SPARE_CELLS)


def test_with_little_memory_auto_shortens_the_context_so_that_two_fit() -> None:
    assert sizes(20_000_000) == (4864, 10_000 - 16)
    assert sizes(6_000_000) == (SHORTEST_AUTO_CONTEXT, 3000), "shorter contexts are of no use"
    assert chosen(20_000_000).reason == "memory has room for 2 of this length; the model was trained for 8192"


@pytest.mark.parametrize("given_length", [2048, "auto"])
def test_too_little_memory_names_the_setting(given_length: object) -> None:
    with pytest.raises(ConfigurationError, match=f"CONTEXT_LENGTH={given_length}: .* one sequence of 2048 tokens"):
        chosen(1_000_000, context_length=given_length)


@given(
    st.integers(0, 2**36),
    st.sampled_from([0, 512, 2048, 8192, 32_768, 131_072]),
    st.integers(1, 64),
    st.sampled_from(["auto", 512, 8192]),
    st.booleans(),
    st.sampled_from([CacheCost(1000), CacheCost(200, 800, 512), CacheCost(0, 1000, 4096)]),
)
def test_what_is_chosen_fits_and_can_be_used(
    free_bytes: int, trained: int, slots: int, length: object, wants_streams: bool, cost: CacheCost
) -> None:
    settings = load_settings(_env_file=None, inference_slots=slots, context_length=length)
    machine = Machine(trained, cost, free_bytes, 256, 256, wants_streams)
    try:
        size = choose_context_size(settings, machine)
    except ConfigurationError:
        return
    assert size.cache_bytes + size.parked_tokens * 1000 <= free_bytes * 0.6 + 1
    assert size.context_length + SPARE_CELLS <= size.cells
    assert size.batch_tokens <= size.cells and 1 <= size.sequences <= slots
    assert not trained or size.context_length <= trained
    assert not size.has_streams or size.context_length + SPARE_CELLS <= size.cells // size.sequences


def test_what_cannot_be_allocated_is_halved_down_to_the_shortest_length() -> None:
    size, lengths = chosen(GIB, trained=32_768), list[int]()
    while (less := smaller(size)) is not None:
        assert less.cells < size.cells and less.context_length + SPARE_CELLS <= less.cells
        size = less
        lengths.append(size.context_length)
    assert lengths == [8192, 4096, 2048]


def test_this_machine_has_memory() -> None:
    assert 0 < available_memory_bytes() <= memory_limit_bytes()


def test_layers_with_a_window_need_no_more_than_the_window() -> None:
    gemma = CacheCost(cell_bytes=24_576, windowed_bytes=118_784, window_tokens=1024)
    assert gemma.total_bytes(1000, 1, 256) == 1000 * gemma.token_bytes
    assert gemma.total_bytes(16_384, 1, 256) == 16_384 * 24_576 + 1280 * 118_784
    settings = load_settings(_env_file=None, inference_slots=2)
    size = choose_context_size(settings, Machine(131_072, gemma, 3 * GIB, 256, 256, wants_streams=True))
    assert (size.context_length, size.sequences) == (LONGEST_AUTO_CONTEXT, 2)
    whole = choose_context_size(settings, Machine(131_072, CacheCost(143_360), 3 * GIB, 256, 256, wants_streams=True))
    assert whole.context_length < 6_000


@given(st.integers(1, 10**9), st.integers(1, 16), st.sampled_from([(1000, 0, 0), (200, 800, 512), (50, 1000, 4096)]))
def test_cells_that_fit_are_the_most_that_fit(room_bytes: int, sequences: int, cost: tuple[int, int, int]) -> None:
    cache = CacheCost(*cost)
    cells = cache.fitting_cells(room_bytes, sequences, 256)
    assert cache.total_bytes(cells, sequences, 256) <= room_bytes < cache.total_bytes(cells + 1, sequences, 256) + 1
