"""`llm-api rollback`: the tables of every older revision, with the documents, and a copy of what was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.rollback import rollback
from cli.runtime import Lock, RuntimeDir
from cli.screen import Screen
from core.catalog import Catalog, NewDocument, Source
from core.catalog.copies import revision_of
from core.catalog.migration import HEAD_REVISION, known_revisions
from core.errors import ConfigurationError
from core.settings import Settings, load_settings
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from tests.support import migrated_catalog, private_redis


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(_env_file=None, data_dir=tmp_path / "data")


def catalog_of(settings: Settings) -> Path:
    return settings.state_dir / "catalog.sqlite3"


def add_document(settings: Settings) -> str:
    catalog = migrated_catalog(catalog_of(settings))
    document = catalog.add_document(NewDocument("default", "a.txt", Source.UPLOAD, "hash", 3, blob_key="k"))
    catalog.close()
    return document.id


#: Each takes a second, so most are for `make check`.
OLDER = [
    *(pytest.param(revision, marks=pytest.mark.check) for revision in known_revisions()[:-3]),
    *known_revisions()[-3:-1],
]


@pytest.mark.parametrize("revision", OLDER)
def test_the_documents_are_there_after_going_back_and_upgrading_again(settings: Settings, revision: str) -> None:
    document_id = add_document(settings)
    assert rollback(settings, revision, Screen()) == 0
    assert revision_of(catalog_of(settings)) == revision
    assert revision_of(settings.state_dir / "catalog-copies" / f"catalog-{HEAD_REVISION}.sqlite3") == HEAD_REVISION
    catalog = Catalog.open(settings.catalog_url)
    catalog.migrate()
    assert document_id in catalog.documents_by_id([document_id])
    catalog.close()


@pytest.mark.parametrize("revision", [HEAD_REVISION, "9999", "head", "-1"])
def test_what_is_no_older_revision_is_refused_with_those_that_are(settings: Settings, revision: str) -> None:
    add_document(settings)
    with pytest.raises(ConfigurationError, match=r"no revision to go back to: 0001, .* are"):
        rollback(settings, revision, Screen())
    assert revision_of(catalog_of(settings)) == HEAD_REVISION


def test_a_running_stack_keeps_its_tables(settings: Settings) -> None:
    add_document(settings)
    runtime = RuntimeDir(settings.runtime_dir)
    runtime.prepare()
    lock = Lock(runtime.up_lock)
    assert lock.acquire()
    try:
        with pytest.raises(ConfigurationError, match="llm-api down"):
            rollback(settings, "0014", Screen())
    finally:
        lock.release()


def test_processes_on_other_machines_keep_their_tables(tmp_path: Path) -> None:
    with private_redis() as (redis_url, _):
        settings = load_settings(_env_file=None, data_dir=tmp_path / "data", redis_url=redis_url)
        add_document(settings)
        producer = Producer(settings)
        producer.announce(Role.INDEX, "index@there", {})
        producer.close()
        with pytest.raises(ConfigurationError, match="index@there"):
            rollback(settings, "0014", Screen())
