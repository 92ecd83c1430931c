"""Fixtures for all tests: settings that ignore this machine's environment, and a real Redis."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cli.redis_server import find_redis_server, write_config
from core.settings import Settings, load_settings
from tests.support import wait_until


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Run a private Redis server for all tests, and yield its URL. Tests share it, so each uses its own names."""
    # Not under pytest's directory, since the path of a socket can have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="llm-api-redis-") as directory:
        config, url = Path(directory, "redis.conf"), f"unix://{directory}/redis.sock"
        write_config(config, socket=Path(directory, "redis.sock"), data_dir=Path(directory, "data"))
        with Path(directory, "redis.log").open("wb") as log:
            server = subprocess.Popen([find_redis_server(), config], stdout=log, stderr=log)
        try:
            client = redis.Redis.from_url(url)
            wait_until(lambda: _answers(client), 20, "redis-server")
            client.close()
            yield url
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    """Return settings with a new `DATA_DIR`, the private Redis and a new inbox."""
    return load_settings(
        data_dir=tmp_path / "data", redis_url=redis_url, watch_dirs=(str(tmp_path / "inbox"),), _env_file=None
    )


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
