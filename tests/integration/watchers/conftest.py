"""Fixtures: worlds with a watched folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.watchers.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(**overrides: Any) -> World:
        worlds.append(World(tmp_path, **overrides))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
