"""`llm-api doctor`: each kind of fault is named with its remedy, and a sound installation has none."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.doctor import examination, machine, services, work
from cli.doctor.findings import Finding, Severity
from cli.screen import Screen
from core.catalog import Catalog, FolderState, WatchedFolder
from core.settings import Settings, load_settings
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from tests.support import free_port, migrated_catalog, private_redis


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def settings_of(tmp_path: Path, **changed: Any) -> Settings:
    given = {"data_dir": tmp_path / "data", "port": free_port(), "flower_port": free_port(), **changed}
    (tmp_path / "data").mkdir(exist_ok=True)
    return load_settings(_env_file=None, watch_dirs=(str(tmp_path / "inbox"),), **given)


def problems(findings: Iterator[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity is Severity.PROBLEM]


def test_a_new_installation_has_no_problem(tmp_path: Path, inbox: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inbox.exists()
    assert examination.doctor(settings_of(tmp_path), Screen(), as_json=False) == 0
    assert "Nothing is wrong." in capsys.readouterr().out


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        (found,) = problems(machine.ports(settings_of(tmp_path, port=server.getsockname()[1])))
    assert "Set PORT" in found.remedy


def test_a_full_disk_is_named_with_the_setting(tmp_path: Path) -> None:
    (found,) = problems(machine.disk(settings_of(tmp_path, min_free_bytes=2**60)))
    assert "MIN_FREE_BYTES" in found.text


def test_a_package_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        machine.metadata, "requires", lambda _: ["redis>=99", "no-such-package>=1", "x; extra == 'dev'"]
    )
    (found,) = problems(machine.versions(settings_of(tmp_path)))
    assert "redis" in found.text
    assert "no-such-package (missing)" in found.text
    assert "x " not in found.text


def test_a_redis_that_forgets_is_a_problem(tmp_path: Path) -> None:
    with private_redis() as (redis_url, _):
        settings = settings_of(tmp_path, redis_url=redis_url)
        with redis.Redis.from_url(redis_url) as client:
            client.config_set("appendonly", "no")
            client.config_set("maxmemory", 100 * 2**20)
            client.config_set("maxmemory-policy", "allkeys-lru")
        remedies = [found.remedy for found in problems(services.redis_server(settings))]
    assert any("appendonly yes" in remedy for remedy in remedies)
    assert any("noeviction" in remedy for remedy in remedies)


def test_a_redis_that_does_not_answer_is_a_problem_without_its_password(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, redis_url=f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    (found,) = problems(services.redis_server(settings))
    assert "hunter2" not in found.text


def test_clocks_that_differ_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = services.time.time()
    monkeypatch.setattr(services.time, "time", lambda: now - 20)
    with private_redis() as (redis_url, _):
        found = problems(services.redis_server(settings_of(tmp_path, redis_url=redis_url)))
    assert any(one.subject == "Clocks" and "20 s ahead" in one.text for one in found)


def test_a_qdrant_server_that_does_not_answer_is_a_problem(tmp_path: Path) -> None:
    (found,) = problems(services.vector_store(settings_of(tmp_path, qdrant_url=f"http://127.0.0.1:{free_port()}")))
    assert "QDRANT_URL" in found.remedy


def test_a_server_for_others_without_keys_is_a_problem(tmp_path: Path) -> None:
    found = problems(examination.examine(settings_of(tmp_path, host="0.0.0.0")))
    assert any(one.subject == "Access" and "API_KEYS" in one.text for one in found)


def test_a_held_folder_and_a_missing_one_are_named(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    catalog: Catalog = migrated_catalog(settings.state_dir / "catalog.sqlite3")
    root = str(tmp_path / "inbox")
    catalog.save_watched_folder(
        WatchedFolder(root, "default", "mirror", FolderState.HELD, "1:2", 10, 6, confirmed=False, changed_at=0)
    )
    catalog.close()
    findings = list(work.folders(settings))
    assert any(one.severity is Severity.NOTE and "no folder now" in one.text for one in findings)
    assert any("llm-api watch confirm" in one.remedy for one in problems(iter(findings)))


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    settings.models_path.mkdir(parents=True)
    (settings.models_path / "broken.gguf").write_bytes(b"GGUF\x03\0\0\0 and no more")
    (found,) = problems(work.models(settings))
    assert "broken.gguf" in found.text


def test_missing_workers_and_a_hanging_engine_are_named(tmp_path: Path) -> None:
    with private_redis() as (redis_url, _):
        settings = settings_of(tmp_path, redis_url=redis_url)
        producer = Producer(settings)
        try:
            for role in (Role.API, Role.INGEST, Role.MAINTENANCE):
                producer.announce(role, f"{role.value}@here", {"pid": 1})
            producer.announce(Role.INFERENCE, "inference@here", {"pid": 1, "silent_seconds": 90.0})
            texts = [found.text for found in problems(work.workers(settings))]
        finally:
            producer.close()
    assert "No index process is alive." in texts
    assert "No watcher process is alive." in texts
    assert any("inference@here has finished no step for 90 s" in text for text in texts)


def test_programs_get_json(tmp_path: Path, inbox: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examination.doctor(settings_of(tmp_path), Screen(), as_json=True)
    findings = json.loads(capsys.readouterr().out)
    assert {"subject", "severity", "text", "remedy"} == set(findings[0])
