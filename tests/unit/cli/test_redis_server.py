from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cli import redis_server
from core.errors import ConfigurationError


def fake_binary(path: Path, version: str) -> Path:
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=libc bits=64'\n")
    path.chmod(0o755)
    return path


def test_recent_server_on_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = fake_binary(tmp_path / "redis-server", "7.4.6")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert redis_server.find_redis_server() == binary


def test_old_server_on_path_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_binary(tmp_path / "redis-server", "5.0.14")
    packaged = fake_binary(tmp_path / "packaged", "6.2.14")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(redis_server, "_packaged_binary", lambda: packaged)
    assert redis_server.find_redis_server() == packaged


def test_without_any_server_the_message_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server.shutil, "which", lambda name: None)
    monkeypatch.setattr(redis_server, "_packaged_binary", lambda: None)
    with pytest.raises(ConfigurationError, match="apt install redis-server"):
        redis_server.find_redis_server()


def test_config_is_private_durable_and_has_no_port(tmp_path: Path) -> None:
    config = tmp_path / "redis.conf"
    folder = tmp_path / 'with "quotes" and blanks'
    redis_server.write_config(config, socket=tmp_path / "redis.sock", data_dir=folder, max_memory_bytes=1000)
    lines = config.read_text().splitlines()
    assert {"port 0", "unixsocketperm 600", "appendonly yes", "appendfsync everysec"} <= set(lines)
    assert {"maxmemory 1000", "maxmemory-policy noeviction"} <= set(lines)
    assert f'dir "{tmp_path}/with \\"quotes\\" and blanks"' in lines
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
