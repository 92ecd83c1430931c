"""A data folder of an earlier release, opened by this one."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
from asgi_lifespan import LifespanManager

from api.app import create_app
from api.dependencies import Services
from core.blobs import BlobStore
from core.catalog import Catalog, DocumentState, JobState
from core.keys import DEFAULT_OWNER
from core.messages import SearchOptions
from core.settings import Settings, load_settings
from ingest.retrieval.retriever import Retriever
from tasks.documents.embedding_models import open_models
from tasks.documents.indexer import Indexer
from tasks.documents.parsing import ParsingService
from tasks.jobs.producer import Producer
from tests.fakes.job_stream import FakeHints, FakeJobStream
from tests.integration.watchers.world import World as WatchedWorld
from tests.old_data_folder import (
    ANSWER,
    DOCUMENTS_JOB,
    EMBEDDINGS_JOB,
    FUSES,
    OFFERS,
    QUESTION,
    REFUSED,
    UNHEADED_ARCHIVE,
    UPLOADED,
    WAITING_JOB,
    WATCHED,
    unpack,
)
from tests.support import wait_until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    unpack(tmp_path)
    return load_settings(
        _env_file=None, data_dir=tmp_path / "data", watch_dirs=(str(tmp_path / "inbox"),), embedding_dtype="float32"
    )


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    catalog = Catalog.open(settings.catalog_url)
    catalog.migrate()
    yield catalog
    catalog.close()


def test_its_catalog_is_copied_and_upgraded(settings: Settings, catalog: Catalog) -> None:
    assert (settings.state_dir / "catalog-copies" / "catalog-0008.sqlite3").is_file()
    documents = {document.path: document for document in catalog.list_documents(limit=100).items}
    owners = {one.owner for one in (*documents.values(), *catalog.list_jobs().items, *catalog.list_collections())}
    assert owners == {DEFAULT_OWNER}, "what there was before there were owners"
    assert documents.keys() == WATCHED | UPLOADED | {REFUSED}
    assert documents.pop(REFUSED).error_code == "unsupported_file"
    assert {document.state for document in documents.values()} == {DocumentState.COMPLETED}
    assert {(one.name, one.store is not None) for one in catalog.list_collections()} == {
        ("contracts", True),
        ("default", True),
    }
    blobs = BlobStore(settings.blobs_path)
    stored = [document.blob_key for document in documents.values() if document.blob_key]
    assert len(stored) == len(UPLOADED) and all(blobs.path(key).is_file() for key in stored)


@pytest.mark.check
@pytest.mark.model
def test_its_documents_are_found_before_they_are_indexed_again(settings: Settings, catalog: Catalog) -> None:
    before = {document.id: document for document in catalog.list_documents(limit=100).items}
    with opened(settings, catalog) as (indexer, retriever, _):
        indexer.start()
        hits = retriever.search([QUESTION], SearchOptions(top_k=1))
        assert [hit.filename for hit in hits] == [ANSWER]
        rowing = retriever.search(["rowing boat"], SearchOptions(top_k=10))
        assert [hit.text for hit in rowing if hit.filename == "rowing.txt"] == [
            "The rental contract of the rowing boat was renewed until 2033."
        ], "only the second version of a replaced document"
        wait_until(lambda: not catalog.queue_outdated(1))
        queued = {document.id: document for document in catalog.list_documents(limit=100).items}
        assert {key: document.active_generation for key, document in queued.items()} == {
            key: document.active_generation for key, document in before.items()
        }, "search sees the generation from before the upgrade"


@pytest.mark.check
@pytest.mark.model
def test_documents_of_an_older_chunk_format_are_indexed_again_by_themselves_while_search_goes_on(
    tmp_path: Path,
) -> None:
    with tarfile.open(UNHEADED_ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    settings = load_settings(_env_file=None, data_dir=tmp_path / "data", embedding_dtype="float32")
    catalog = Catalog.open(settings.catalog_url)
    catalog.migrate()
    before = {document.id: document for document in catalog.list_documents(limit=100).items}
    assert catalog.outdated_count() == len(before) == len(FUSES) + len(OFFERS)

    def is_found(query: str, words: str, filename: str) -> bool:
        hits = retriever.search([query], SearchOptions(top_k=1))
        return bool(hits) and hits[0].filename == filename and words in hits[0].text

    def answers() -> list[bool]:
        return [
            *(
                is_found(f"Which main fuse does the {name} need?", fuse, f"{name.lower()}.md")
                for name, fuse in FUSES.items()
            ),
            *(is_found(query, "", filename) for query, filename in OFFERS.items()),
        ]

    with opened(settings, catalog) as (indexer, retriever, parsing):
        assert not all(answers()), "what this release makes better"
        indexer.start()
        done: set[str] = set()

        def has_settled() -> bool:
            found = {hit.document_id for hit in retriever.search(["main fuse"], SearchOptions(top_k=20))}
            assert len(found) >= len(FUSES), "each manual is found at any time, in one of its two generations"
            for document in catalog.dispatchable(1):
                parsing.parse(document.id)
                indexer.wake()
            now = catalog.list_documents(limit=100).items
            done.update(one.id for one in now if one.active_generation == 2)
            return len(done) == len(before) and {one.state for one in now} == {DocumentState.COMPLETED}

        indexer.wake()
        wait_until(has_settled)
        assert all(answers())
        after = {document.id: document for document in catalog.list_documents(limit=100).items}
        assert {one.generation for one in after.values()} == {2}
        embedded = {one.filename: (one.chunks_embedded, one.chunk_count) for one in after.values()}
        assert embedded["offer_889.txt"] == (0, 1), "a chunk without a header keeps its vector"
        assert embedded["kx-10.md"][0] > 0
        assert catalog.outdated_count() == 0 and catalog.queue_outdated(10) == 0
    catalog.close()


class NoMessages:
    """A producer whose queue is always full: the test itself hands out the documents."""

    #: Nobody counts them here.
    changes = SimpleNamespace(count=lambda **_: None)

    def is_ingest_queue_low(self) -> bool:
        return False

    def wake_indexer(self) -> None:
        """Do nothing: the test wakes the indexer."""


@contextmanager
def opened(settings: Settings, catalog: Catalog) -> Iterator[tuple[Indexer, Retriever, ParsingService]]:
    """Open the stores of a data folder. The indexer is not started."""
    blobs, models = BlobStore(settings.blobs_path), open_models(catalog, settings)
    indexer = Indexer(catalog, blobs, models, "index@test")
    retriever = Retriever(models.default.store, models.default.service, catalog.active_generations, 0.3)
    yield indexer, retriever, ParsingService(settings, catalog, blobs, cast(Producer, NoMessages()), "ingest@test")
    indexer.close()
    models.close()


async def test_results_of_its_jobs_can_be_read(settings: Settings, catalog: Catalog) -> None:
    stream = FakeJobStream(scripts={}, live={})
    app = create_app(services=Services(settings, catalog, BlobStore(settings.blobs_path), stream, FakeHints()))
    async with (
        LifespanManager(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http,
    ):
        documents = (await http.get(f"/v1/jobs/{DOCUMENTS_JOB}")).json()
        embeddings = (await http.get(f"/v1/jobs/{EMBEDDINGS_JOB}")).json()
        waiting = (await http.get(f"/v1/jobs/{WAITING_JOB}")).json()
    assert [one["filename"] for one in documents["result"]["data"]] == ["prices.csv", REFUSED]
    assert len(embeddings["result"]["data"][0]["embedding"]) == 384
    assert waiting["status"] == "queued"
    assert catalog.unfinished_job_count() == 1 and catalog.job_bytes() > 2000
    assert [job.id for job in catalog.unfinished_jobs(10)] == [WAITING_JOB]
    assert catalog.finish_job(WAITING_JOB, JobState.COMPLETED, result="{}")


def test_its_watched_folder_keeps_its_state(tmp_path: Path) -> None:
    unpack(tmp_path)
    world = WatchedWorld(tmp_path, watch_rescan_seconds=1)
    before = world.documents()
    (tmp_path / "inbox" / "new.txt").write_text("A file that was dropped after the upgrade.")
    try:
        world.start()
        found = world.settle_on(*WATCHED, "new.txt")
        wait_until(lambda: len(world.catalog.list_skipped("default").items) == 2)
    finally:
        world.close()
    for path in WATCHED:
        assert (found[path].id, found[path].generation) == (before[path].id, 1), "it is not ingested again"
    assert "unwanted.txt" not in found, "a file that was deleted over the API stays ignored"
