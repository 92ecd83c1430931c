"""The embedding models of an index worker, each with its vector store, and the placement of collections in them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.bulk_work import BulkWork
from core.catalog import Catalog, Collection, StoreRecord
from core.errors import ConfigurationError
from core.settings import Settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.vector_store import VectorStore, open_vector_store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """An embedding model and the store of its vectors. `source` is the setting that it was loaded from."""

    service: EmbeddingService
    store: VectorStore
    source: str | None = None

    @property
    def record(self) -> StoreRecord:
        """The row by which the catalog identifies the model and its store."""
        embedder = self.service.embedder
        return StoreRecord(self.store.identity, embedder.model_name, embedder.dimension, self.source)

    def close(self) -> None:
        """Stop the model's thread, and close the store so that another process can open it."""
        self.service.close()
        self.store.close()


@dataclass(frozen=True)
class Placement:
    """The model that serves the searches of a collection, and the one to which the collection is moving."""

    serving: Model
    upcoming: Model | None = None

    @property
    def all(self) -> tuple[Model, ...]:
        """The models in which points are written and deleted."""
        return (self.serving, self.upcoming) if self.upcoming else (self.serving,)


class Models:
    """All open models. They stay open as long as the process runs; only the placement of collections changes.

    Attributes:
        default: the model of EMBEDDING_MODEL_NAME. It also embeds texts that belong to no collection.
        all: each model once, the default first.
    """

    def __init__(self, default: Model, chosen: Mapping[str, Model] | None = None, former: Sequence[Model] = ()) -> None:
        """
        Args:
            chosen: the models that collections may choose, by the name under which they choose them.
            former: models that collections are still in, though neither a setting nor a collection names them.
        """
        self.default = default
        self._chosen = dict(chosen or {})
        self.all: tuple[Model, ...] = tuple(dict.fromkeys((default, *self._chosen.values(), *former)))

    def target(self, collection: Collection) -> Model:
        """Return the model that a collection should be in: the one it chose if it could be loaded, else the default."""
        return self._chosen.get(collection.model_choice or "", self.default)

    def placement(self, collection: Collection) -> Placement:
        """Return the placement of a collection now."""
        serving = self.with_store(collection.store) or self.target(collection)
        upcoming = self.with_store(collection.next_store)
        return Placement(serving, upcoming if upcoming is not serving else None)

    def with_store(self, record: StoreRecord | None) -> Model | None:
        """Return the open model with this store, or None."""
        return next((model for model in self.all if record and location(model.record) == location(record)), None)

    def named(self, name: str | None) -> Model:
        """Return the open model of this name, or the default if there is none."""
        return next((model for model in self.all if model.service.embedder.model_name == name), self.default)

    def choices(self) -> dict[str | None, Model]:
        """Return the models that collections may choose, by choice. None stands for the default."""
        default: dict[str | None, Model] = {None: self.default}
        return default | dict(self._chosen)

    def close(self) -> None:
        """Close all models."""
        for model in self.all:
            model.close()


def location(record: StoreRecord) -> tuple[str, str, int]:
    """Return what identifies the points of a model. The setting that the model was loaded from does not matter."""
    return record.store_id, record.embedding_model, record.dimension


def open_models(catalog: Catalog, settings: Settings) -> Models:
    """Load the models that the settings name and, where available, those that collections are in or have chosen.

    If a collection's model is not available, its documents are hidden until another model has embedded them.

    Raises:
        ConfigurationError: if a model that the settings name cannot be loaded, or a store cannot be opened.
    """
    loader = _Loader(catalog, settings)
    try:
        default = loader.open(settings.embedding_model_name, settings.embedding_dimension)
        chosen = {name: loader.open(name) for name in settings.embedding_models}
        collections = catalog.placed_collections()
        former = [model for model in map(loader.open_former, _records(collections)) if model]
        for name in sorted({one.model_choice for one in collections if one.model_choice} - chosen.keys()):
            if (model := loader.open_or_none(name)) is not None:
                chosen[name] = model
    except BaseException:
        loader.close()
        raise
    return Models(default, chosen, former)


def _records(collections: Sequence[Collection]) -> list[StoreRecord]:
    return list(dict.fromkeys(one.store for one in collections if one.store))


class _Loader:
    """Opens models, each store once."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog = catalog
        self._settings = settings
        self._open: list[Model] = []

    def open(self, source: str | None, dimension: int | None = None) -> Model:
        names = {"embedding_model_name": source, "embedding_dimension": dimension}
        settings = self._settings.model_copy(update=names)
        try:
            service = EmbeddingService(
                Embedder.from_settings(settings),
                cores=settings.embedding_threads or settings.cores,
                bulk=BulkWork(settings),
            )
        except ConfigurationError as error:
            if source == self._settings.embedding_model_name:
                raise
            raise ConfigurationError(error.message.replace("EMBEDDING_MODEL_NAME", "EMBEDDING_MODELS")) from error
        embedder = service.embedder
        if (known := self._known(embedder.model_name, embedder.dimension)) is not None:
            service.close()
            return known
        try:
            # One worker at a time, since two that find an empty store would give it two identities.
            with self._catalog.exclusively("stores"):
                store = open_vector_store(settings, embedder.dimension, embedder.model_name)
        except BaseException:
            service.close()
            raise
        self._open.append(Model(service, store, source))
        return self._open[-1]

    def open_former(self, record: StoreRecord) -> Model | None:
        """Open the model that a collection is in, which serves searches while the collection moves to another one.

        Return None if the model cannot be loaded or its vectors are gone.
        """
        if (known := self._known(record.embedding_model, record.dimension)) is not None:
            return known
        model = self.open_or_none(record.model_source, record.dimension)
        if model is None or location(model.record) == location(record):
            return model
        log.warning("the vectors of the former embedding model %s are gone", record.embedding_model)
        self._open.remove(model)
        model.close()
        return None

    def open_or_none(self, source: str | None, dimension: int | None = None) -> Model | None:
        try:
            return self.open(source, dimension)
        except ConfigurationError as error:
            log.warning("the embedding model of a collection cannot be used: %s", error.message)
            return None

    def close(self) -> None:
        for model in self._open:
            model.close()

    def _known(self, name: str, dimension: int) -> Model | None:
        def matches(model: Model) -> bool:
            return (model.service.embedder.model_name, model.service.embedder.dimension) == (name, dimension)

        return next(filter(matches, self._open), None)
