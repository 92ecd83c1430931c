"""Documents move to another embedding model while the former one serves, and nothing is lost or found twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from core.blobs import BlobStore
from core.catalog import Activation, Catalog, Collection, Document, DocumentState, Indexed, NewDocument, Source
from core.errors import InvalidRequest
from core.messages import SearchOptions
from core.settings import load_settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.retrieval.retriever import Retriever
from ingest.vector_store.edge import EdgeVectorStore
from tasks.documents.embedding_models import Model, Models
from tasks.documents.indexer import Indexer
from tasks.documents.parsing import ParsingService
from tasks.jobs.producer import Producer
from tasks.jobs.runner import JobRunner
from tasks.queries.cosine_scales import CosineScales
from tasks.queries.service import QueryService
from tests.fakes.fake_embedder import FakeEmbedder
from tests.support import wait_until


class OtherEmbedder(FakeEmbedder):
    """A model of another name and dimension."""

    model_name = "other"
    dimension = 512


@dataclass
class World:
    """A catalog, and two models with their stores."""

    catalog: Catalog
    blobs: BlobStore
    parsing: ParsingService
    former: Model
    upcoming: Model
    current: Indexer | None = None

    def add(self, text: str, name: str, collection: str = "default") -> Document:
        blob = self.blobs.put(text.encode(), name)
        new = NewDocument(collection, name, Source.UPLOAD, blob.content_hash, blob.size_bytes, blob_key=blob.key)
        return self.catalog.add_document(new)

    def indexer(self, models: Models) -> Indexer:
        self.current = Indexer(self.catalog, self.blobs, models, "index@test")
        return self.current

    def both(self) -> Models:
        """Return the models when the settings name another model than the one that collections are in."""
        return Models(self.upcoming, former=[self.former])

    def offered(self) -> Models:
        """Return the models when the settings name a second model that collections may choose."""
        return Models(self.former, {"other": self.upcoming})

    def collection(self, name: str = "default") -> Collection:
        return self.catalog.get_collection(name)

    @property
    def has_moved(self) -> bool:
        return self.collection().store == self.upcoming.record

    def parse_queued(self) -> None:
        for document in self.catalog.list_documents(state=DocumentState.QUEUED, limit=100).items:
            self.parsing.parse(document.id)

    def is_at_rest(self) -> bool:
        """Parse queued documents and wake the indexer. Return whether every document has ended."""
        self.parse_queued()
        if self.current is not None:
            self.current.wake()
        return set(self.catalog.counts_by_state()) <= {"completed", "failed"}

    def found_in(self, model: Model) -> set[str]:
        """Return the ids of the documents whose active generation is in the store of this model."""
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
    """Index six documents in the former model's store."""
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
    # Half way, some documents are in both stores and all are in the former one.
    for document in documents[:3]:
        world.parsing.parse(document.id)
    indexer.wake()
    wait_until(lambda: world.catalog.counts_by_state() == {"queued": 3, "completed": 3})
    assert world.found_in(world.former) == ids and len(world.found_in(world.upcoming)) == 3
    assert world.collection().store == world.former.record and world.collection().next_store == world.upcoming.record
    wait_until(lambda: world.is_at_rest() and world.has_moved)
    assert world.found_in(world.upcoming) == ids
    assert world.collection().next_store is None
    wait_until(lambda: not any(world.former.store.count(key, generation) for key in ids for generation in (1, 2)))
    indexer.close()


def test_during_a_move_documents_are_written_and_deleted_in_both_stores(filled: tuple[World, list[Document]]) -> None:
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
    assert world.former.store.count(documents[0].id, 1) == 0 and not world.has_moved
    wait_until(lambda: world.is_at_rest() and world.has_moved)
    assert world.found_in(world.upcoming) == {added.id, *(document.id for document in documents[1:])}
    indexer.close()


def test_a_move_resumes_after_a_restart(filled: tuple[World, list[Document]]) -> None:
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
    wait_until(lambda: world.is_at_rest() and world.has_moved)
    second.close()
    texts = [text for batch in cast(FakeEmbedder, world.upcoming.service.embedder).batches[embedded:] for text in batch]
    assert len(texts) == 5, "what the first one embedded is not embedded again"
    assert world.found_in(world.upcoming) == {document.id for document in documents}


def test_returning_to_the_former_model_ends_the_move(filled: tuple[World, list[Document]]) -> None:
    world, documents = filled
    indexer = world.indexer(world.both())
    indexer.start()
    wait_until(lambda: world.catalog.counts_by_state() == {"queued": 6})
    indexer.close()
    back = world.indexer(Models(world.former))
    back.start()
    wait_until(world.is_at_rest)
    back.close()
    assert world.collection().next_store is None and not world.has_moved
    assert world.found_in(world.former) == {document.id for document in documents}


def test_a_document_that_cannot_be_parsed_again_does_not_delay_the_others(
    filled: tuple[World, list[Document]],
) -> None:
    world, documents = filled
    assert documents[0].blob_key
    world.blobs.path(documents[0].blob_key).unlink()
    indexer = world.indexer(world.both())
    indexer.start()
    wait_until(lambda: world.catalog.counts_by_state() == {"queued": 6})
    wait_until(lambda: world.is_at_rest() and world.has_moved)
    indexer.close()
    assert world.found_in(world.upcoming) == {document.id for document in documents[1:]}
    assert "no longer in BLOB_DIR" in str(world.catalog.get_document(documents[0].id).error)


def test_a_document_that_is_indexed_while_another_worker_begins_a_move_is_in_both_stores(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexer = world.indexer(world.offered())
    document = world.add("The ferry leaves at dawn.", "ferry.txt")
    activate, results = world.catalog.activate_all, []

    def move_and_activate(finished: Sequence[Indexed]) -> list[Activation]:
        if not results:
            world.catalog.update_collection("default", {"model_choice": "other"})
            world.catalog.begin_move(world.collection().id, world.upcoming.record)
        results.append(activate(finished))
        return results[-1]

    monkeypatch.setattr(world.catalog, "activate_all", move_and_activate)
    world.parse_queued()
    indexer.start()
    wait_until(lambda: world.is_at_rest() and world.has_moved)
    indexer.close()
    assert results == [[Activation.MISPLACED], [Activation.ACTIVE]]
    assert world.found_in(world.upcoming) == {document.id}


def test_one_collection_moves_to_a_model_of_its_choice_while_the_others_stay(
    filled: tuple[World, list[Document]],
) -> None:
    world, documents = filled
    indexer = world.indexer(world.offered())
    indexer.start()
    other = world.add("The night train leaves at ten.", "train.txt", "trains")
    wait_until(world.is_at_rest)
    world.catalog.update_collection("trains", {"model_choice": "other"})
    indexer.wake()
    wait_until(lambda: world.collection("trains").next_store == world.upcoming.record)
    assert world.found_in(world.former) == {other.id, *(document.id for document in documents)}, "it is found as before"
    wait_until(lambda: world.is_at_rest() and world.collection("trains").store == world.upcoming.record)
    assert world.found_in(world.upcoming) == {other.id}
    assert world.collection().store == world.former.record and world.collection().next_store is None
    wait_until(lambda: world.former.store.count(other.id, 2) == 0)
    # Later documents are indexed only in the model of their collection.
    later = [world.add("A tram leaves at noon.", "tram.txt", name) for name in ("trains", "default")]
    wait_until(world.is_at_rest)
    assert [world.upcoming.store.count(one.id, 1) for one in later] == [1, 0]
    assert [world.former.store.count(one.id, 1) for one in later] == [0, 1]
    world.catalog.update_collection("trains", {"model_choice": None})
    indexer.wake()
    wait_until(lambda: world.is_at_rest() and world.collection("trains").store == world.former.record)
    wait_until(lambda: not world.found_in(world.upcoming))
    indexer.close()
    assert len(world.found_in(world.former)) == 9


def test_a_new_collection_is_placed_in_the_model_of_its_choice(world: World) -> None:
    indexer = world.indexer(world.offered())
    indexer.start()
    world.catalog.create_collection("trains", model_choice="other")
    world.catalog.create_collection("gone", model_choice="no longer available")
    ids = {name: world.add("The night train leaves at ten.", "a.txt", name).id for name in ("trains", "gone")}
    wait_until(world.is_at_rest)
    indexer.close()
    assert world.found_in(world.upcoming) == {ids["trains"]}
    assert world.found_in(world.former) == {ids["gone"]}, "without its model, a collection gets the default"


def test_a_collection_that_is_deleted_leaves_nothing_in_either_store(filled: tuple[World, list[Document]]) -> None:
    world, documents = filled
    indexer = world.indexer(world.both())
    indexer.start()
    wait_until(lambda: world.catalog.counts_by_state() == {"queued": 6})
    world.parsing.parse(documents[0].id)
    indexer.wake()
    wait_until(lambda: world.upcoming.store.count(documents[0].id, 2) == 1)
    world.catalog.delete_collection("default")
    indexer.wake()
    wait_until(lambda: not world.catalog.counts_by_state())
    indexer.close()
    counts = [model.store.count(documents[0].id, at) for model in (world.former, world.upcoming) for at in (1, 2)]
    assert counts == [0, 0, 0, 0]


def test_points_that_a_killed_process_left_behind_are_removed_at_the_next_start(
    filled: tuple[World, list[Document]],
) -> None:
    world, documents = filled
    # Given a move without its last step: by the catalog, the collection is in the other store.
    points = world.former.store
    world.catalog.replace_collection(world.collection().id, world.upcoming.record)
    indexer = world.indexer(world.both())
    indexer.start()
    wait_until(world.is_at_rest)
    indexer.close()
    assert [points.count(document.id, 1) for document in documents] == [0] * 6
    assert len(world.found_in(world.upcoming)) == 6


def test_a_search_uses_for_each_collection_the_model_that_it_is_in(
    filled: tuple[World, list[Document]], producer: Producer
) -> None:
    world, documents = filled
    indexer = world.indexer(world.offered())
    indexer.start()
    world.catalog.create_collection("trains", model_choice="other")
    train = world.add("The night train number 3 leaves at ten.", "train.txt", "trains")
    wait_until(world.is_at_rest)
    models = world.offered()
    retrievers = {
        model: Retriever(model.store, model.service, world.catalog.active_generations, 0.2) for model in models.all
    }
    runner = cast(JobRunner, None)
    query = QueryService(runner, producer, world.catalog, models, retrievers, scales=CosineScales(world.catalog))

    def found(text: str, *collections: str, top_k: int = 3, within: list[str] | None = None) -> list[str]:
        options = SearchOptions(top_k=top_k, collections=list(collections))
        return [hit.document_id for hit in query._find([text], options, within)]

    assert found("night train", top_k=1) == [train.id]
    assert found("ferry number 3", top_k=1) == [documents[3].id]
    both = found("number 3 leaves", top_k=2)
    assert set(both) == {train.id, documents[3].id}, "the best of each model come before the second best"
    assert found("leaves", "trains") == [train.id]
    assert train.id not in found("leaves", "default", top_k=10)
    assert found("number 3 leaves", within=["trains"], top_k=10) == [train.id]
    assert train.id not in found("number 3 leaves", within=["default"], top_k=10)
    assert found("number 3 leaves", within=[]) == found("number 3 leaves", within=["not yet there"]) == []
    for hidden in ("default", "none"):
        with pytest.raises(InvalidRequest, match=f"There is no collection named '{hidden}'"):
            found("leaves", hidden, within=["trains"])
    indexer.close()
