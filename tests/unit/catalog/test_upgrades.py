"""Upgrades of the catalog: the copy that is made before, and catalogs of newer releases."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from core.catalog import Catalog
from core.catalog.copies import FOLDER, KEPT, copy_before_upgrade, copy_catalog
from core.catalog.migration import HEAD_REVISION, SCRIPTS
from core.errors import ConfigurationError, StorageFull, Unavailable
from tests.support import SmallDisk


def old_catalog(path: Path, revision: str = "0008") -> Catalog:
    """Return a catalog of an old revision, with one collection."""
    catalog = Catalog.open(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with catalog._write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.exec_driver_sql("INSERT INTO collections (id, name, created_at) VALUES ('col-1', 'contracts', 1)")
    return catalog


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_the_catalog_is_copied_before_its_upgrade(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalog = old_catalog(tmp_path / "catalog.sqlite3")
    catalog.migrate()
    catalog.close()
    copy = tmp_path / FOLDER / "catalog-0008.sqlite3"
    assert rows(copy, "SELECT version_num FROM alembic_version") == [("0008",)]
    assert rows(copy, "SELECT name FROM collections") == [("contracts",)]
    assert copy.stat().st_mode & 0o077 == 0, "only its owner may read it"
    assert str(copy) in caplog.text


def test_a_new_catalog_and_one_that_is_up_to_date_are_not_copied(tmp_path: Path) -> None:
    for _ in range(2):
        catalog = Catalog.open(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
        catalog.migrate()
        catalog.close()
    assert not (tmp_path / FOLDER).exists()


def test_the_last_few_copies_are_kept(tmp_path: Path) -> None:
    catalog = old_catalog(tmp_path / "catalog.sqlite3")
    for number in range(KEPT + 2):
        copy = copy_before_upgrade(tmp_path / "catalog.sqlite3", f"000{number}")
        os.utime(copy, (number, number))
    catalog.close()
    kept = sorted(path.name for path in (tmp_path / FOLDER).iterdir())
    assert kept == [f"catalog-000{number}.sqlite3" for number in range(2, KEPT + 2)]


def test_a_copy_is_one_snapshot_while_others_write(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    catalog = Catalog.open(f"sqlite:///{path}")
    catalog.migrate()
    stopping = threading.Event()

    def write_pairs() -> None:
        number = 0
        while not stopping.is_set():
            with catalog._write() as connection:
                for name in (f"a{number}", f"b{number}"):
                    connection.exec_driver_sql(
                        "INSERT INTO collections (id, name, created_at) VALUES (?, ?, 1)", (name, name)
                    )
            number += 1

    writer = threading.Thread(target=write_pairs)
    writer.start()
    try:
        for number in range(20):
            copy_catalog(path, tmp_path / f"copy-{number}")
            names = {str(name) for (name,) in rows(tmp_path / f"copy-{number}", "SELECT name FROM collections")}
            assert {name[1:] for name in names if name[0] == "a"} == {name[1:] for name in names if name[0] == "b"}
    finally:
        stopping.set()
        writer.join()
        catalog.close()


def test_a_newer_catalog_is_refused_with_what_to_do(tmp_path: Path) -> None:
    catalog = Catalog.open(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    catalog.migrate()
    with catalog._write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(ConfigurationError) as raised:
        catalog.migrate()
    catalog.close()
    for part in ("0999", HEAD_REVISION, "catalog.sqlite3", "newer release", "docs/backup-and-upgrade.md"):
        assert part in raised.value.message


def test_a_catalog_that_cannot_be_copied_is_not_upgraded(tmp_path: Path) -> None:
    catalog = old_catalog(tmp_path / "catalog.sqlite3")
    (tmp_path / FOLDER).write_text("a file in the place of the folder")
    with pytest.raises(Unavailable, match="cannot be copied"):
        catalog.migrate()
    assert catalog._revision() == "0008"
    catalog.close()


def test_a_copy_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path: Path, small_disk: SmallDisk) -> None:
    catalog = old_catalog(tmp_path / "catalog.sqlite3")
    small_disk.fill()
    with pytest.raises(StorageFull):
        copy_catalog(tmp_path / "catalog.sqlite3", small_disk.path / "copy")
    assert [path.name for path in small_disk.path.iterdir()] == [small_disk.ballast.name]
    small_disk.free()
    copy_catalog(tmp_path / "catalog.sqlite3", small_disk.path / "copy")
    catalog.close()


def test_a_full_disk_is_said_and_loses_nothing_that_was_committed(small_disk: SmallDisk) -> None:
    catalog = Catalog.open(f"sqlite:///{small_disk.path / 'catalog.sqlite3'}")
    catalog.migrate()
    create: Callable[[str], object] = catalog.create_collection
    create("before")
    small_disk.fill()
    with pytest.raises(StorageFull, match="disk is full"):
        for number in range(1000):
            create(f"{number} " + "x" * 4000)
    names = [collection.name for collection in catalog.list_collections()]
    small_disk.free()
    create("after")
    assert [collection.name for collection in catalog.list_collections()] == sorted([*names, "after"])
    with catalog._read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    catalog.close()
