"""Fixtures: a producer with a real Redis, a real catalog, and a generation service with the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.catalog import Catalog
from core.settings import Settings, load_settings
from tasks.jobs.producer import Producer
from tests.integration.tasks.generating import World
from tests.support import migrated_catalog


@pytest.fixture
def job_settings(redis_url: str) -> Settings:
    return load_settings(redis_url=redis_url, max_queued_jobs=3)


@pytest.fixture
def producer(job_settings: Settings) -> Iterator[Producer]:
    producer = Producer(job_settings)
    producer.records.redis.flushdb()
    yield producer
    producer.close()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = migrated_catalog(tmp_path / "catalog.sqlite3")
    yield catalog
    catalog.close()


@pytest.fixture(scope="package")
def world(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start the real engine with a real Redis, once for all tests that generate."""
    folder = tmp_path_factory.mktemp("data")
    producer = Producer(load_settings(_env_file=None, redis_url=redis_url))
    catalog = migrated_catalog(folder / "catalog.sqlite3")
    world = World(producer, catalog, folder)
    yield world
    world.close()
    catalog.close()
    producer.close()
