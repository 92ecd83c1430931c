"""How many layers go to GPUs, and what the KV cache may take there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigurationError
from core.models.needed_memory import CacheCost
from core.settings import load_settings
from inference.engine.context_size import Machine, choose_context_size
from inference.engine.gpu_layers import DEVICE_RESERVE_BYTES, layers_that_fit
from inference.engine.llama_backend.devices import Device, Placement, gpus, place_layers
from inference.engine.model_files import resolve_model

GIB = 2**30
#: A model of 32 layers and 4 GiB, of which each layer takes 128 MiB, and its part of the KV cache 64 MiB.
MODEL = (31, 4 * GIB, 64 * 2**20)


@pytest.mark.parametrize(
    ("free_bytes", "layers"),
    [
        ([], 0),
        ([GIB // 2], 0),
        ([GIB], 0),  # all of it is reserved
        ([GIB + 192 * 2**20 - 1], 0),
        ([GIB + 192 * 2**20], 1),
        ([4 * GIB], 16),
        ([7 * GIB], 32),
        ([80 * GIB], 32),
        ([2 * GIB, 2 * GIB], 10),  # five layers and a part of one, which is on neither
        ([2 * GIB, 80 * GIB], 32),
    ],
)
def test_as_many_layers_as_fit_beside_their_cache_are_on_gpus(free_bytes: list[int], layers: int) -> None:
    assert layers_that_fit(*MODEL, free_bytes) == layers


@given(
    st.integers(1, 200),
    st.integers(0, 2**40),
    st.integers(0, 2**34),
    st.lists(st.integers(0, 2**38), max_size=8),
)
def test_what_is_on_gpus_fits(layers: int, weights_bytes: int, kv_bytes: int, free_bytes: list[int]) -> None:
    count = layers_that_fit(layers, weights_bytes, kv_bytes, free_bytes)
    assert 0 <= count <= layers + 1
    usable = sum(max(0, free - DEVICE_RESERVE_BYTES) for free in free_bytes)
    assert count * (weights_bytes // (layers + 1) + kv_bytes) <= usable


def test_gpus_have_names_and_memory() -> None:
    assert all(device.name and device.free_bytes >= 0 for device in gpus())


# The starter model, of which only the description is read


@pytest.fixture(scope="module")
def starter() -> Path:
    return resolve_model(load_settings(_env_file=None)).path


def placed(starter: Path, free_bytes: int, n_gpu_layers: object = "auto", **device: bool) -> Placement:
    settings = load_settings(_env_file=None, n_gpu_layers=n_gpu_layers)
    return place_layers(
        starter, settings, [Device("GPU0", free_bytes, **{"shares_memory": False, **device})], CacheCost(23_040)
    )


def test_without_a_gpu_all_layers_are_in_main_memory(starter: Path) -> None:
    assert place_layers(starter, load_settings(_env_file=None), [], CacheCost(23_040)) == Placement(0)


def test_a_small_model_is_on_the_gpu_as_a_whole(starter: Path) -> None:
    assert placed(starter, 8 * GIB) == Placement(31, gpu_share=1.0, main_share=0.0)


def test_a_gpu_that_is_nearly_full_gets_some_of_the_layers(starter: Path) -> None:
    placement = placed(starter, DEVICE_RESERVE_BYTES + 100 * 2**20)
    assert 0 < placement.gpu_layers < 30
    assert placement.gpu_share == pytest.approx(placement.gpu_layers / 30)
    assert placement.main_share == pytest.approx(1 - placement.gpu_share)


def test_what_a_gpu_takes_of_main_memory_counts_there_too(starter: Path) -> None:
    assert placed(starter, 8 * GIB, shares_memory=True).main_share == 1.0


def test_a_given_number_is_not_changed(starter: Path) -> None:
    assert placed(starter, 0, n_gpu_layers=7).gpu_layers == 7
    assert placed(starter, 0, n_gpu_layers=-1).gpu_layers == placed(starter, 0, n_gpu_layers=99).gpu_layers == 31


@pytest.mark.parametrize("value", ["-2", "all", "1.5", ""])
def test_only_numbers_and_auto_are_layers(value: str) -> None:
    with pytest.raises(ConfigurationError, match="N_GPU_LAYERS=.*must be auto"):
        load_settings(_env_file=None, n_gpu_layers=value)


# The context


def cells(**machine: object) -> int:
    settings = load_settings(_env_file=None, inference_slots=4, context_length=1024)
    return choose_context_size(settings, Machine(4096, CacheCost(1000), 10**9, 256, 256, **machine)).cells  # type: ignore[arg-type]


def test_the_cache_of_layers_on_a_gpu_must_fit_there() -> None:
    wanted = 4 * 1024 + 256
    assert cells(main_share=0.0, gpu_share=1.0, free_gpu_bytes=10**9) == wanted
    assert cells(main_share=0.0, gpu_share=1.0, free_gpu_bytes=2_000_000) == 1800
    assert cells(main_share=0.5, gpu_share=0.5, free_gpu_bytes=1_000_000) == 1800
    with pytest.raises(ConfigurationError, match="there is room for 0 MiB"):
        cells(main_share=0.0, gpu_share=1.0, free_gpu_bytes=0)
