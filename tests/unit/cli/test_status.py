"""`llm-api status`: watched folders, and processes that `llm-api up` did not start here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.screen import Screen
from cli.status import collect, status
from core.catalog import UNREADABLE, Catalog, FolderState, WatchedFolder
from core.settings import Settings, load_settings
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from tests.support import migrated_catalog, private_redis


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    folders = (f"{tmp_path}/papers=papers:additive",)
    with private_redis() as (redis_url, _):
        yield load_settings(_env_file=None, data_dir=tmp_path / "data", redis_url=redis_url, watch_dirs=folders)


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    catalog = migrated_catalog(settings.state_dir / "catalog.sqlite3")
    yield catalog
    catalog.close()


def save(catalog: Catalog, root: str, state: FolderState, missing: int = 0) -> None:
    folder = WatchedFolder(root, "papers", "additive", state, "1:2", 10, missing, confirmed=False, changed_at=0)
    catalog.save_watched_folder(folder)


def printed_status(settings: Settings, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit status of `llm-api status`, and what it prints, in one line."""
    code = status(settings, Screen(), as_json=False)
    return code, " ".join(capsys.readouterr().out.split())


def test_a_held_folder_is_shown_with_what_to_do(
    settings: Settings, catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for root in (f"{tmp_path}/papers", "/watched/long/ago"):
        save(catalog, root, FolderState.HELD, missing=6)
    assert collect(settings)["folders"] == [
        {
            "path": f"{tmp_path}/papers",
            "collection": "papers",
            "mode": "additive",
            "state": "held",
            "missing": 6,
            "unreadable": 0,
        }
    ]
    code, printed = printed_status(settings, capsys)
    assert code == 1
    assert "held, the files of 6 documents are missing" in printed
    assert "llm-api watch confirm" in printed


def test_files_that_the_watcher_cannot_read_are_shown(
    settings: Settings, catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = f"{tmp_path}/papers"
    save(catalog, root, FolderState.WATCHED)
    catalog.save_skipped(root, {f"{UNREADABLE} by the watcher's user, 10001: Permission denied": 3, "*.bak": 9}, [])
    save(catalog, root, FolderState.WATCHED)
    _, printed = printed_status(settings, capsys)
    assert "watched, 3 files or folders cannot be read. `llm-api documents skipped --collection papers`" in printed


def test_a_watched_url_is_shown(
    settings: Settings, catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "https://example.org/sitemap.xml"
    watching = settings.model_copy(update={"watch_urls": (f"{url}=papers",)})
    save(catalog, url, FolderState.HELD, missing=6)
    assert [folder["path"] for folder in collect(watching)["folders"]] == [url]
    _, printed = printed_status(watching, capsys)
    assert f"Web {url} (papers, additive): held, the pages of 6 documents are missing." in printed


def test_a_folder_that_does_not_exist_is_shown(
    settings: Settings, catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(catalog, f"{tmp_path}/papers", FolderState.MISSING)
    assert "missing, there is no such folder. Create it, or mount it." in printed_status(settings, capsys)[1]


def test_no_folders_are_shown_before_the_first_start(settings: Settings) -> None:
    assert collect(settings)["folders"] == []


def test_processes_in_containers_and_on_other_machines_are_counted(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = printed_status(settings, capsys)
    assert code == 1
    assert f"llm-api is not running on {settings.state_dir}" in printed.replace("\n", "")
    producer = Producer(settings)
    for role, name in ((Role.INGEST, "ingest@one"), (Role.INGEST, "ingest@two"), (Role.API, "api@one")):
        producer.announce(role, name, {})
    producer.close()
    code, printed = printed_status(settings, capsys)
    assert code == 0
    assert "Processes api 1, ingest 2, index 0, inference 0, maintenance 0, watcher 0" in printed
    assert "not running" not in printed
