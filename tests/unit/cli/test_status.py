"""Watched folders in `llm-api status`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.screen import Screen
from cli.status import collect, status
from core.catalog import Catalog, FolderState, WatchedFolder
from core.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    folders = (f"{tmp_path}/papers=papers:additive",)
    return load_settings(_env_file=None, data_dir=tmp_path / "data", redis_url=redis_url, watch_dirs=folders)


def test_a_held_folder_is_shown_with_what_to_do(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = Catalog.open(settings.catalog_url)
    catalog.migrate()
    for root in (f"{tmp_path}/papers", "/watched/long/ago"):
        folder = WatchedFolder(
            root, "papers", "additive", FolderState.HELD, "1:2", 10, 6, confirmed=False, changed_at=0
        )
        catalog.save_watched_folder(folder)
    catalog.close()
    assert collect(settings)["folders"] == [
        {"path": f"{tmp_path}/papers", "collection": "papers", "mode": "additive", "state": "held", "missing": 6}
    ]
    assert status(settings, Screen(), as_json=False) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "held, the files of 6 documents are missing" in printed
    assert "llm-api watch confirm" in printed


def test_no_folders_are_shown_before_the_first_start(settings: Settings) -> None:
    assert collect(settings)["folders"] == []
