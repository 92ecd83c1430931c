"""A watched folder while a disk is below MIN_FREE_BYTES."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core import disk
from tests.integration.watchers.world import World
from tests.support import wait_until

FLOOR = 1000


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Return the free bytes of the disk, for the test to change."""
    numbers = {"bytes": FLOOR}
    monkeypatch.setattr(disk, "free_bytes", lambda _: numbers["bytes"])
    return numbers


@pytest.fixture(params=["mirror", "additive", "consume"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    (tmp_path / "inbox").mkdir()
    watched = (f"{tmp_path / 'inbox'}=default:{request.param}",)
    world = World(tmp_path, watch_dirs=watched, min_free_bytes=FLOOR)
    yield world
    world.close()


def test_files_wait_for_room(world: World, free: dict[str, int], caplog: pytest.LogCaptureFixture) -> None:
    world.start()
    free["bytes"] = 0
    (world.inbox / "late.txt").write_text("A file that has to wait.")
    wait_until(lambda: "No new work is begun" in caplog.text)
    wait_until(lambda: world.info["waiting"] == 1)
    assert not world.catalog.list_documents().items and not list(world.settings.blobs_path.rglob("*.txt"))
    assert (world.inbox / "late.txt").exists()
    free["bytes"] = FLOOR
    wait_until(lambda: [one.path for one in world.catalog.list_documents().items] == ["late.txt"])
    assert "has room again" in caplog.text
