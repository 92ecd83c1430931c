"""Which embedding models an index worker opens at its start, and how it reports those that are not available."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from core.blobs import BlobStore
from core.catalog import Catalog, DocumentState, NewDocument, Source
from core.errors import ConfigurationError
from core.settings import Settings, load_settings
from ingest.indexing.chunk_files import read_chunks
from ingest.vector_store.server import ServerVectorStore
from tasks.documents.embedding_models import Models, open_models
from tasks.documents.parsing import ParsingService
from tasks.jobs.producer import Producer
from tests.support_models import tiny_model

Open = Callable[..., Models]


@pytest.fixture
def settings_for(tmp_path: Path) -> Callable[..., Settings]:
    return lambda **named: load_settings(_env_file=None, data_dir=tmp_path / "data", embedding_dtype="float32", **named)


@pytest.fixture
def open_all(settings_for: Callable[..., Settings], catalog: Catalog) -> Iterator[Open]:
    """Return a function that opens the models of some settings, as a new process would. It first closes the others."""
    opened: list[Models] = []

    def open_them(**named: Any) -> Models:
        for models in opened:
            models.close()
        opened[:] = []
        opened.append(open_models(catalog, settings_for(**named)))
        return opened[0]

    yield open_them
    for models in opened:
        models.close()


def names(models: Models) -> list[str]:
    return [model.service.embedder.model_name for model in models.all]


def test_models_are_those_of_the_settings_and_those_that_collections_are_in(
    open_all: Open, catalog: Catalog, tmp_path: Path
) -> None:
    one, two, three = (str(tiny_model(tmp_path / name)) for name in ("one", "two", "three"))
    models = open_all(embedding_model_name=one, embedding_models=(two, two, one))
    assert names(models) == ["one", "two"], "each once"
    assert models.named("two").source == two and models.named("unknown") is models.default
    chosen = catalog.create_collection("letters", model_choice=two)
    plain = catalog.create_collection("plain")
    assert names_of(models, catalog) == {"letters": "two", "plain": "one"}
    for collection in (chosen, plain):
        catalog.place_collection(collection.id, models.target(collection).record)
    # If the settings name other models, those that collections are in or have chosen are opened too.
    models = open_all(embedding_model_name=three)
    assert sorted(names(models)) == ["one", "three", "two"]
    assert names_of(models, catalog) == {"letters": "two", "plain": "one"}
    assert models.target(catalog.get_collection("plain")) is models.default
    assert models.target(catalog.get_collection("letters")) is models.named("two")


def test_workers_that_open_an_empty_store_at_once_agree_on_its_identity(
    settings_for: Callable[..., Settings], catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(embedding_model_name=str(tiny_model(tmp_path / "one")))
    client = QdrantClient(":memory:")
    reads = threading.Barrier(2)
    retrieve = ServerVectorStore._retrieve_identity

    def retrieve_at_once(store: ServerVectorStore) -> str:
        known = retrieve(store)
        with suppress(threading.BrokenBarrierError):
            reads.wait(0.5)
        return known

    def open_shared(_settings: Settings, dimension: int, name: str) -> ServerVectorStore:
        return ServerVectorStore(client, name, dimension, indexed=False)

    monkeypatch.setattr(ServerVectorStore, "_retrieve_identity", retrieve_at_once)
    monkeypatch.setattr("tasks.documents.embedding_models.open_vector_store", open_shared)
    with ThreadPoolExecutor(2) as threads:
        opened = list(threads.map(lambda _: open_models(catalog, settings), range(2)))
    assert len({models.default.store.identity for models in opened}) == 1
    for models in opened:
        models.default.service.close()
    client.close()


def names_of(models: Models, catalog: Catalog) -> dict[str, str]:
    """Return the name of the model that serves each collection."""
    return {one.name: models.placement(one).serving.service.embedder.model_name for one in catalog.placed_collections()}


def test_collections_of_a_model_that_is_gone_get_the_default(
    open_all: Open, catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = (str(tiny_model(tmp_path / name)) for name in ("one", "two"))
    models = open_all(embedding_model_name=one, embedding_models=(two,))
    collection = catalog.create_collection("letters", model_choice=two)
    catalog.place_collection(collection.id, models.target(collection).record)
    Path(two).rename(tmp_path / "elsewhere")
    models = open_all(embedding_model_name=one)
    assert names(models) == ["one"]
    assert models.with_store(catalog.get_collection("letters").store) is None
    assert models.target(catalog.get_collection("letters")) is models.default
    assert "cannot be used" in caplog.text


def test_a_former_store_that_was_created_again_is_not_mistaken_for_the_old_one(
    open_all: Open, catalog: Catalog, tmp_path: Path
) -> None:
    one, two = (str(tiny_model(tmp_path / name)) for name in ("one", "two"))
    models = open_all(embedding_model_name=one)
    collection = catalog.create_collection("letters")
    catalog.place_collection(collection.id, models.default.record)
    for file in tmp_path.glob("data/vectors/llm-api-one-*/identity"):
        file.unlink()
    models = open_all(embedding_model_name=two)
    assert names(models) == ["two"]


@pytest.mark.parametrize(
    ("named", "setting"),
    [
        ({"embedding_model_name": "./nowhere"}, "EMBEDDING_MODEL_NAME=./nowhere"),
        ({"embedding_models": ("./nowhere",)}, "EMBEDDING_MODELS=./nowhere"),
    ],
)
def test_a_missing_model_that_the_settings_name_prevents_the_start(
    open_all: Open, named: dict[str, Any], setting: str
) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        open_all(**named)


def test_documents_are_chunked_by_the_tokens_of_the_model_that_was_chosen(
    settings_for: Callable[..., Settings], catalog: Catalog, producer: Producer, tmp_path: Path
) -> None:
    chosen = str(tiny_model(tmp_path / "short"))  # reads 62 tokens, the starter 254
    catalog.create_collection("short", model_choice=chosen)
    catalog.create_collection("gone", model_choice="./nowhere")
    blobs = BlobStore(tmp_path / "blobs")
    parsing = ParsingService(settings_for(), catalog, blobs, producer, "ingest@test")
    blob = blobs.put(" ".join(f"The ferry number {number} leaves at dawn." for number in range(60)).encode(), "a.txt")
    sizes = {}
    for collection in ("default", "short", "gone"):
        new = NewDocument(collection, "a.txt", Source.UPLOAD, collection, blob.size_bytes, blob_key=blob.key)
        document = catalog.add_document(new)
        parsing.parse(document.id)
        assert catalog.get_document(document.id).state is DocumentState.PARSED
        sizes[collection] = len(read_chunks(blobs.chunks_path(document.id, 1)))
    assert sizes["short"] > 3 * sizes["default"] and sizes["gone"] == sizes["default"]
