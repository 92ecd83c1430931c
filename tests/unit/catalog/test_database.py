"""Migrations, transactions, and databases that do not answer."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from core.catalog import Catalog, Document, NewDocument, Source, StoreRecord
from core.catalog.migration import HEAD_REVISION, SCRIPTS
from core.catalog.tables import documents, metadata
from core.cosine_scale import CosineScale
from core.errors import ConfigurationError, Unavailable


def migrate_and_count(url: str) -> int:
    catalog = Catalog.open(url)
    catalog.migrate()
    count = len(catalog.list_collections())
    catalog.close()
    return count


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_several_processes_may_migrate_at_once(database_url: str, pool: Any) -> None:
    context = {"mp_context": multiprocessing.get_context("spawn")} if pool is ProcessPoolExecutor else {}
    with pool(3, **context) as workers:
        assert list(workers.map(migrate_and_count, [database_url] * 3)) == [0, 0, 0]


def test_the_migrations_create_the_tables_that_the_code_declares(catalog: Catalog) -> None:
    with catalog._read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_revision_is_the_one_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD_REVISION


def test_old_collections_keep_the_key_that_their_points_carry(tmp_path: Path) -> None:
    catalog = Catalog.open(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with catalog._write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO collections (id, name, created_at) VALUES ('col-1', 'contracts', 1)")
    catalog.migrate()
    assert catalog.get_collection("contracts").point_key == "contracts"
    catalog.close()


def test_old_collections_stay_in_the_store_that_they_shared(tmp_path: Path) -> None:
    catalog = Catalog.open(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    store = "INSERT INTO stores (id, store_id, embedding_model, dimension) VALUES "
    with catalog._write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
        connection.exec_driver_sql("INSERT INTO collections (id, name, created_at) VALUES ('c', 'contracts', 1)")
        connection.exec_driver_sql(store + "(1, 'store-1', 'minilm', 384), (2, 'store-2', 'bge', 768)")
    catalog.migrate()
    collection = catalog.get_collection("contracts")
    assert (collection.store, collection.next_store) == (
        StoreRecord("store-1", "minilm", 384),
        StoreRecord("store-2", "bge", 768),
    )
    catalog.place_collection(collection.id, StoreRecord("store-3", "e5", 1024))
    catalog.close()


def test_the_scale_of_a_model_is_kept_with_its_store(database_url: str) -> None:
    catalog = Catalog.open(database_url)
    catalog.migrate()
    here, there = StoreRecord("store-1", "minilm", 384), StoreRecord("store-2", "bge", 768)
    catalog.record_cosine_scale(here, CosineScale(0.05, 0.3))
    assert catalog.cosine_scale(here) == CosineScale(0.05, 0.3, 0)
    catalog.record_cosine_scale(here, CosineScale(0.05, 0.4, 900))
    assert catalog.cosine_scale(here) == CosineScale(0.05, 0.4, 900)
    catalog.place_collection(catalog.ensure_collection("c").id, there)
    assert catalog.cosine_scale(there) is None
    catalog.close()


def test_an_old_catalog_is_counted_and_a_move_in_it_goes_on(database_url: str) -> None:
    catalog = Catalog.open(database_url)
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with catalog._write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0009")
        connection.exec_driver_sql(
            "INSERT INTO stores (id, store_id, embedding_model, dimension) VALUES (1, 'a', 'm', 4), (2, 'b', 'n', 8)"
        )
        connection.exec_driver_sql(
            "INSERT INTO collections (id, name, created_at, point_key, store, next_store) "
            "VALUES ('c', 'c', 1, 'c', 1, 2)"
        )
        for number, (state, active, upcoming, error) in enumerate(
            [("completed", 1, 1, None), ("completed", 1, None, None), ("failed", None, None, "'damaged'")]
        ):
            connection.exec_driver_sql(
                "INSERT INTO documents (id, collection_id, filename, source, state, generation, active_generation, "
                "next_generation, error, chunk_count, attempts, content_hash, size_bytes, attributes, moved, token, "
                "created_at, updated_at) VALUES "
                f"('d{number}', 'c', 'a', 'upload', '{state}', 1, {active or 'NULL'}, {upcoming or 'NULL'}, "
                f"{error or 'NULL'}, 2, 0, 'x', 10, '{{}}', false, 0, 1, 1)"
            )
    catalog.migrate()
    (coverage,) = catalog.coverage()
    assert (coverage.documents, coverage.indexed, coverage.chunks, coverage.size_bytes) == (3, 2, 6, 30)
    assert coverage.failed == {"damaged": 1} and catalog.counts_by_state() == {"completed": 2, "failed": 1}
    assert catalog.finish_move("c") is None and catalog.queue_for_next(9) == 1
    assert [one.id for one in catalog.dispatchable(9)] == ["d1"], "the next store has the other one already"
    with catalog._write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")
        command.upgrade(config, "head")
    assert catalog.counts_by_state() == {"queued": 1, "completed": 1, "failed": 1}
    assert catalog.queue_for_next(9) == 0, "the next store still has it"
    catalog.close()


def test_a_reader_sees_one_snapshot(catalog: Catalog, add: Callable[..., Document]) -> None:
    add()
    with catalog._read() as connection:
        count = sa.select(sa.func.count()).select_from(documents)
        assert connection.execute(count).scalar_one() == 1
        add()
        assert connection.execute(count).scalar_one() == 1
    assert len(catalog.list_documents().items) == 2


def test_migrating_again_keeps_the_data(catalog: Catalog, add: Callable[..., Document]) -> None:
    document = add()
    catalog.migrate()
    assert catalog.get_document(document.id) == document


def test_sqlite_runs_in_wal_mode(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    catalog = Catalog.open(f"sqlite:///{path}")
    catalog.migrate()
    with catalog._read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    catalog.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 5000, "foreign_keys": 1}


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    catalog = Catalog.open(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    catalog.migrate()
    with catalog._write():
        assert catalog.counts_by_state() == {}
    catalog.close()


def test_a_locked_database_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.catalog.engine.BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "catalog.sqlite3"
    catalog = Catalog.open(f"sqlite:///{path}")
    catalog.migrate()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="does not answer"):
        catalog.ensure_collection("default")
    other.close()
    catalog.ensure_collection("default")
    catalog.close()


@pytest.mark.parametrize("password", ["swordfish", "sword%40fish"])
def test_a_database_that_does_not_answer_is_unavailable(password: str, caplog: pytest.LogCaptureFixture) -> None:
    catalog = Catalog.open(f"postgresql://nobody:{password}@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match=r"DATABASE_URL\) does not answer") as caught:
        catalog.ping()
    assert "127.0.0.1" not in str(caught.value), "clients do not learn where the database is"
    assert "127.0.0.1" in caplog.text and "fish" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://u:swordfish@localhost/x",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://u:p@ss:w/fish@localhost/x",
        "postgresql://u:swordfish@localhost:fish/x",
        "postgresql+pigeon://u:swordfish@localhost/x",
        "sqlite+pigeon:////tmp/swordfish",
    ],
)
def test_a_wrong_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as caught:
        Catalog.open(url)
    assert "fish" not in str(caught.value)


def test_the_folder_of_the_database_is_created(tmp_path: Path) -> None:
    catalog = Catalog.open(f"sqlite:///{tmp_path}/data/deep/catalog.sqlite3")
    catalog.migrate()
    catalog.ping()
    catalog.close()


def test_a_forked_child_uses_connections_of_its_own(catalog: Catalog, add: Callable[..., Document]) -> None:
    document = add()
    child = os.fork()
    if child == 0:
        is_found = catalog.get_document(document.id) == document
        os._exit(0 if is_found else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert catalog.get_document(document.id) == document


def test_one_file_added_by_many_at_once_is_one_document(catalog: Catalog) -> None:
    start = threading.Barrier(6)
    new = NewDocument("default", "a.txt", Source.WATCH, "a" * 64, 1, root="/inbox", path="a.txt", idempotency_key="k")

    def add(_: int) -> str:
        start.wait()
        return catalog.add_document(new).id

    with ThreadPoolExecutor(6) as workers:
        assert len(set(workers.map(add, range(6)))) == 1
