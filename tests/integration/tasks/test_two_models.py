"""Documents move to another embedding model while the former one answers, and nothing is lost or found twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from core.blobs import BlobStore
from core.catalog import Catalog, Document, DocumentState, NewDocument, Source
from core.settings import load_settings
from ingest.embedder import Embedder
from ingest.embedding_service import EmbeddingService
from ingest.vector_store.edge import EdgeVectorStore
from tasks.client import Producer
from tasks.indexer import Indexer
from tasks.models import Model, Models
from tasks.parsing import ParsingService
from tests.fakes.fake_embedder import FakeEmbedder
from tests.support import wait_until


class OtherEmbedder(FakeEmbedder):
    """Another model: of another name and length."""

    model_name = "other"
    dimension = 512


@dataclass
class World:
    """A catalog, and two models with their stores beside each other."""

    catalog: Catalog
    blobs: BlobStore
    parsing: ParsingService
    former: Model
    upcoming: Model
    switched: list[Model] = field(default_factory=list)
    current: Indexer | None = None

    def add(self, text: str, name: str) -> Document:
        blob = self.blobs.put(text.encode(), name)
        new = NewDocument("default", name, Source.UPLOAD, blob.content_hash, blob.size_bytes, blob_key=blob.key)
        return self.catalog.add_document(new)

    def indexer(self, models: Models) -> Indexer:
        self.current = Indexer(self.catalog, self.blobs, models, "index@test")
        return self.current

    def both(self) -> Models:
        return Models(self.former, self.upcoming, self.switched.append)

    def parse_queued(self) -> None:
        for document in self.catalog.list_documents(state=DocumentState.QUEUED, limit=100).items:
            self.parsing.parse(document.id)

    def is_at_rest(self) -> bool:
        """Parses what is queued; whether every document has come to its end."""
        self.parse_queued()
        if self.current is not None:
            self.current.wake()
        return set(self.catalog.counts_by_state()) <= {"completed", "failed"}

    def found_in(self, model: Model) -> set[str]:
        """The documents whose active generation this store has."""
        documents = [one.id for one in self.catalog.list_documents(limit=100).items]
        active = self.catalog.active_generations(documents)
        return {key for key, generation in active.items() if model.store.count(key, generation)}


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog, producer: Producer) -> Iterator[World]:
    blobs = BlobStore(tmp_path / "blobs")
    models = [
        Model(
            EmbeddingService(cast(Embedder, embedder)),
            EdgeVectorStore(tmp_path / "vectors", embedder.model_name, embedder.dimension),
        )
        for embedder in (FakeEmbedder(), OtherEmbedder())
    ]
    settings = load_settings(data_dir=tmp_path / "data", _env_file=None)
    parsing = ParsingService(settings, catalog, blobs, producer, "ingest@test")
    yield World(catalog, blobs, parsing, *models)
    for model in models:
        model.close()


@pytest.fixture
def filled(world: World) -> tuple[World, list[Document]]:
    """Six documents, all of them in the former model's store."""
    indexer = world.indexer(Models(world.former))
    documents = [world.add(f"The ferry number {number} leaves at dawn.", f"{number}.txt") for number in range(6)]
    indexer.start()
    wait_until(world.is_at_rest)
    indexer.close()
    return world, documents


def test_the_former_model_has_everything_until_the_new_one_has(filled: tuple[World, list[Document]]) -> None:
    world, documents = filled
    ids = {document.id for document in documents}
    indexer = world.indexer(world.both())
    indexer.start()
    wait_until(lambda: world.catalog.counts_by_state() == {"queued": 6})
    assert world.found_in(world.former) == ids and world.found_in(world.upcoming) == set()
    # Half way: some are in both, all are in the former one.
    for document in documents[:3]:
        world.parsing.parse(document.id)
    indexer.wake()
    wait_until(lambda: world.catalog.counts_by_state() == {"queued": 3, "completed": 3})
    assert world.found_in(world.former) == ids and len(world.found_in(world.upcoming)) == 3
    assert world.catalog.store_record() == world.former.record and not world.switched
    wait_until(lambda: world.is_at_rest() and bool(world.switched))
    assert world.found_in(world.upcoming) == ids
    assert world.catalog.store_record() == world.upcoming.record
    assert world.catalog.next_store() is None
    indexer.close()


def test_what_is_written_and_deleted_meanwhile_is_in_both(filled: tuple[World, list[Document]]) -> None:
    world, documents = filled
    indexer = world.indexer(world.both())
    indexer.start()
    wait_until(lambda: world.catalog.counts_by_state() == {"queued": 6})
    added = world.add("The harbour opens at noon.", "new.txt")
    world.catalog.delete_document(documents[0].id)
    world.parsing.parse(added.id)
    indexer.wake()
    wait_until(lambda: added.id in world.found_in(world.former) & world.found_in(world.upcoming))
    wait_until(lambda: "deleting" not in world.catalog.counts_by_state())
    assert world.former.store.count(documents[0].id, 1) == 0 and not world.switched
    wait_until(lambda: world.is_at_rest() and bool(world.switched))
    assert world.found_in(world.upcoming) == {added.id, *(document.id for document in documents[1:])}
    indexer.close()


def test_a_restart_goes_on_where_it_was(filled: tuple[World, list[Document]]) -> None:
    world, documents = filled
    first = world.indexer(world.both())
    first.start()
    wait_until(lambda: world.catalog.counts_by_state() == {"queued": 6})
    world.parsing.parse(documents[0].id)
    first.wake()
    wait_until(lambda: world.found_in(world.upcoming) == {documents[0].id})
    first.close()
    embedded = len(cast(FakeEmbedder, world.upcoming.service.embedder).batches)
    second = world.indexer(world.both())
    second.start()
    wait_until(lambda: world.is_at_rest() and bool(world.switched))
    second.close()
    texts = [text for batch in cast(FakeEmbedder, world.upcoming.service.embedder).batches[embedded:] for text in batch]
    assert len(texts) == 5, "what the first one embedded is not embedded again"
    assert world.found_in(world.upcoming) == {document.id for document in documents}


def test_going_back_to_the_former_model_forgets_the_new_one(filled: tuple[World, list[Document]]) -> None:
    world, documents = filled
    indexer = world.indexer(world.both())
    indexer.start()
    wait_until(lambda: world.catalog.counts_by_state() == {"queued": 6})
    indexer.close()
    back = world.indexer(Models(world.former))
    back.start()
    wait_until(world.is_at_rest)
    back.close()
    assert world.catalog.next_store() is None and not world.switched
    assert world.found_in(world.former) == {document.id for document in documents}


def test_a_document_that_cannot_be_read_again_does_not_hold_up_the_others(
    filled: tuple[World, list[Document]],
) -> None:
    world, documents = filled
    assert documents[0].blob_key
    world.blobs.path(documents[0].blob_key).unlink()
    indexer = world.indexer(world.both())
    indexer.start()
    wait_until(lambda: world.catalog.counts_by_state() == {"queued": 6})
    wait_until(lambda: world.is_at_rest() and bool(world.switched))
    indexer.close()
    assert world.found_in(world.upcoming) == {document.id for document in documents[1:]}
    assert "no longer there" in str(world.catalog.get_document(documents[0].id).error)
