from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cli import preflight
from cli.programs import child_environment, flower_password, stack_programs
from cli.readiness import reachable_host
from cli.runtime import Lock, RuntimeDir, lock_owner
from cli.status import duration, megabytes
from core.errors import ConfigurationError
from core.settings import Settings, load_settings
from tasks.jobs.producer import Producer
from tests.support import free_port


def test_taken_port_names_its_setting_and_its_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Port {port} on 127.0.0.1 is taken.*PORT={port % 65535 + 1}"):
            preflight.require_free_port("PORT", "HOST", "127.0.0.1", port)


def test_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="HOST=192.0.2.1"):
        preflight.require_free_port("PORT", "HOST", "192.0.2.1", free_port())


def test_one_port_for_both_servers_is_refused(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, port=8123, flower_port=8123)
    with pytest.raises(ConfigurationError, match="FLOWER_PORT"):
        preflight.check(settings)


def test_model_file_must_be_gguf(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    with pytest.raises(ConfigurationError, match="MODEL_PATH"):
        preflight.require_model_file(model)
    model.write_bytes(b"PK\x03\x04 a torch file")
    with pytest.raises(ConfigurationError, match="not a GGUF file"):
        preflight.require_model_file(model)
    model.write_bytes(b"GGUF\x03\x00\x00\x00")
    preflight.require_model_file(model)


def test_a_missing_folder_of_functions_is_named(tmp_path: Path) -> None:
    settings = load_settings(
        data_dir=tmp_path, port=free_port(), flower_port=free_port(), functions_dir=tmp_path / "functoins"
    )
    with pytest.raises(ConfigurationError, match="FUNCTIONS_DIR=.*functoins"):
        preflight.check(settings)


def test_a_watched_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    settings = load_settings(
        data_dir=tmp_path, port=free_port(), flower_port=free_port(), watch_dirs=(str(tmp_path / "notes.txt"),)
    )
    with pytest.raises(ConfigurationError, match=r"WATCH_DIRS names .*notes\.txt, which is a file"):
        preflight.check(settings)


def test_data_dir_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="DATA_DIR"):
        preflight.prepare_directories(load_settings(data_dir=tmp_path / "file" / "data"))


@pytest.fixture
def private(tmp_path: Path) -> Settings:
    settings = load_settings(data_dir=tmp_path / "data", flower_password="s3cret, %", redis_url=None)
    preflight.prepare_directories(settings)
    return settings


def test_stack_has_every_process_and_no_password_on_a_command_line(private: Settings, tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path / "run")
    runtime.prepare()
    producer = Producer(private)
    programs = {program.name: program for program in stack_programs(private, runtime, producer)}
    producer.close()
    names = ["redis", "maintenance", "ingest", "index", "inference", "flower", "api", "watcher"]
    assert list(programs) == names
    assert programs["redis"].wave < min(programs[name].wave for name in names[1:])
    assert not any("s3cret" in word for program in programs.values() for word in program.spec.command)
    options: dict[str, object] = {}
    exec(runtime.flower_config.read_text(), options)
    assert options["basic_auth"] == ["admin:s3cret, %"] and options["read_only"] and options["address"] == "127.0.0.1"
    assert runtime.flower_config.stat().st_mode & 0o077 == 0


def test_threads_of_workers_spin_only_briefly_unless_the_user_decides_otherwise(
    private: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = RuntimeDir(tmp_path / "run")
    runtime.prepare()
    producer = Producer(private)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    by_default = {program.name: program.spec.environment for program in stack_programs(private, runtime, producer)}
    monkeypatch.setenv("GOMP_SPINCOUNT", "100000")
    by_user = {program.name: program.spec.environment for program in stack_programs(private, runtime, producer)}
    producer.close()
    assert by_default["inference"]["GOMP_SPINCOUNT"] == by_default["index"]["GOMP_SPINCOUNT"] == "3000"
    assert "GOMP_SPINCOUNT" not in by_user["inference"]


def test_children_send_no_telemetry_and_carry_the_marker(tmp_path: Path) -> None:
    environment = child_environment(RuntimeDir(tmp_path))
    assert environment["DO_NOT_TRACK"] == environment["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert environment["LLM_API_STACK"] == str(tmp_path)


def test_flower_password_is_generated_once_and_private(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, flower_password=None)
    password = flower_password(settings)
    assert len(password) >= 12 and flower_password(settings) == password
    assert (tmp_path / "flower-password").stat().st_mode & 0o077 == 0


def test_lock_names_its_owner_until_it_is_released(tmp_path: Path) -> None:
    import os

    lock = Lock(tmp_path / "lock")
    assert lock_owner(tmp_path / "lock") is None
    assert lock.acquire() and not Lock(tmp_path / "lock").acquire()
    assert lock_owner(tmp_path / "lock") == os.getpid()
    lock.release()
    assert lock_owner(tmp_path / "lock") is None


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("fe80::1", "[fe80::1]"), ("nas", "nas")],
)
def test_a_server_is_reached_at_a_host_that_a_url_can_have(host: str, reached: str) -> None:
    assert reachable_host(host) == reached


def test_durations_and_sizes_are_readable() -> None:
    assert [duration(seconds) for seconds in (5, 65, 3700, 90_000)] == ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]
    assert megabytes(1_500 * 2**20) == "1,500 MB"
