"""Fixtures for all tests: settings that ignore this machine's environment, a real Redis and a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from core.settings import Settings, load_settings
from tests.postgresql import find_programs, private_server
from tests.support import SmallDisk, private_redis
from tests.tiers import MISPLACED, GroupScheduling, encodable, misplaced

# Threads of one computation (llama.cpp, torch) then sleep while they wait for each other. By default they spin, and a
# test that computes takes many times as long as soon as anything else uses the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# No test is judged by its time: two run beside each other, and other programs may run beside them.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")


# Before pytest drops what `-m` does not select.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note the tests whose tier is wrong, for tests/test_architecture.py."""
    problems = ((item, misplaced(item.nodeid, [mark.name for mark in item.iter_markers()])) for item in items)
    config.stash[MISPLACED] = [f"{item.nodeid} {problem}" for item, problem in problems if problem]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Let pytest-xdist run the tests of a group one after the other."""
    return GroupScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Replace halves of characters in what a test printed or logged, because pytest-xdist cannot send them."""
    return encodable((yield))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Run a private Redis server for all tests, and yield its URL. Tests share it, so each uses its own names."""
    with private_redis() as (url, _):
        yield url


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Mount a file system of 16 MiB."""
    disk = SmallDisk(tmp_path / "small-disk", 16 * 2**20)
    if reason := disk.mount():
        pytest.skip(f"a file system cannot be mounted here: {reason}")
    yield disk
    disk.unmount()


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """Yield the URL of a PostgreSQL database for tests to empty: the named one, or that of a private server."""
    if named := os.environ.get("LLM_API_TEST_DATABASE_URL"):
        yield named
    elif programs := find_programs():
        with private_server(programs) as url:
            yield url
    else:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql, or set LLM_API_TEST_DATABASE_URL")


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    """Return settings with a new `DATA_DIR`, the private Redis and a new inbox."""
    return load_settings(
        data_dir=tmp_path / "data", redis_url=redis_url, watch_dirs=(str(tmp_path / "inbox"),), _env_file=None
    )
