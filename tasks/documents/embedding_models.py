"""The embedding models of an index worker, each with its store, and which of them a collection is in."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.catalog import Catalog, Collection, StoreRecord
from core.errors import ConfigurationError
from core.settings import Settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.vector_store import VectorStore, open_vector_store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """An embedding model and the store of its vectors. `source` is the setting that it is loaded by."""

    service: EmbeddingService
    store: VectorStore
    source: str | None = None

    @property
    def record(self) -> StoreRecord:
        """How the catalog remembers the two."""
        embedder = self.service.embedder
        return StoreRecord(self.store.identity, embedder.model_name, embedder.dimension, self.source)

    def close(self) -> None:
        """Ends the model's thread, and lets another process open the store."""
        self.service.close()
        self.store.close()


@dataclass(frozen=True)
class Placement:
    """The model that answers for a collection, and the one that is to take over from it."""

    serving: Model
    upcoming: Model | None = None

    @property
    def all(self) -> tuple[Model, ...]:
        """Where everything that is written or deleted goes."""
        return (self.serving, self.upcoming) if self.upcoming else (self.serving,)


class Models:
    """All models that are open. They are as long as the process is: what changes is which of them collections are in.

    Attributes:
        default: the one of EMBEDDING_MODEL_NAME, for texts that are no documents too.
        all: each once, the default first.
    """

    def __init__(self, default: Model, chosen: Mapping[str, Model] | None = None, former: Sequence[Model] = ()) -> None:
        """
        Args:
            chosen: those that collections may choose, by the name that they choose them by.
            former: those that collections are in, though nothing names them any more.
        """
        self.default = default
        self._chosen = dict(chosen or {})
        self.all: tuple[Model, ...] = tuple(dict.fromkeys((default, *self._chosen.values(), *former)))

    def wanted(self, collection: Collection) -> Model:
        """The model that a collection is to be in: that of its choice, where it could be loaded, else the default."""
        return self._chosen.get(collection.model_choice or "", self.default)

    def placement(self, collection: Collection) -> Placement:
        """The models that a collection is in now."""
        serving = self.holding(collection.store) or self.wanted(collection)
        upcoming = self.holding(collection.next_store)
        return Placement(serving, upcoming if upcoming is not serving else None)

    def holding(self, record: StoreRecord | None) -> Model | None:
        """The open model whose store this is."""
        return next((model for model in self.all if record and location(model.record) == location(record)), None)

    def named(self, name: str | None) -> Model:
        """The open model of this name; the default if there is none."""
        return next((model for model in self.all if model.service.embedder.model_name == name), self.default)

    def choices(self) -> dict[str | None, Model]:
        """The models that collections may choose; None is the default."""
        default: dict[str | None, Model] = {None: self.default}
        return default | dict(self._chosen)

    def close(self) -> None:
        """Closes all of them."""
        for model in self.all:
            model.close()


def location(record: StoreRecord) -> tuple[str, str, int]:
    """Where the points are, whatever the setting was called that led there."""
    return record.store_id, record.embedding_model, record.dimension


def open_models(catalog: Catalog, settings: Settings) -> Models:
    """Loads the models of the settings, and those that collections are in or have chosen, as far as they are to be had.

    Of a collection whose model is not to be had, the documents are hidden until they are embedded by another one.

    Raises:
        ConfigurationError: one that the settings name cannot be loaded, or a store cannot be opened.
    """
    loader = _Loader(settings)
    try:
        default = loader.open(settings.embedding_model_name, settings.embedding_dimension)
        chosen = {name: loader.open(name) for name in settings.embedding_models}
        collections = catalog.placed_collections()
        former = [model for model in map(loader.open_former, _records(collections)) if model]
        for name in sorted({one.model_choice for one in collections if one.model_choice} - chosen.keys()):
            if (model := loader.open_if_there(name)) is not None:
                chosen[name] = model
    except BaseException:
        loader.close()
        raise
    return Models(default, chosen, former)


def _records(collections: Sequence[Collection]) -> list[StoreRecord]:
    return list(dict.fromkeys(one.store for one in collections if one.store))


class _Loader:
    """Opens models, each store once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: list[Model] = []

    def open(self, source: str | None, dimension: int | None = None) -> Model:
        names = {"embedding_model_name": source, "embedding_dimension": dimension}
        settings = self._settings.model_copy(update=names)
        try:
            service = EmbeddingService(Embedder.from_settings(settings))
        except ConfigurationError as error:
            if source == self._settings.embedding_model_name:
                raise
            raise ConfigurationError(error.message.replace("EMBEDDING_MODEL_NAME", "EMBEDDING_MODELS")) from error
        embedder = service.embedder
        if (known := self._known(embedder.model_name, embedder.dimension)) is not None:
            service.close()
            return known
        try:
            store = open_vector_store(settings, embedder.dimension, embedder.model_name)
        except BaseException:
            service.close()
            raise
        self._open.append(Model(service, store, source))
        return self._open[-1]

    def open_former(self, record: StoreRecord) -> Model | None:
        """The model of a collection's store, with which search goes on while its documents move to another one."""
        if (known := self._known(record.embedding_model, record.dimension)) is not None:
            return known
        model = self.open_if_there(record.model_source, record.dimension)
        if model is None or location(model.record) == location(record):
            return model
        log.warning("the vectors of the former embedding model %s are gone", record.embedding_model)
        self._open.remove(model)
        model.close()
        return None

    def open_if_there(self, source: str | None, dimension: int | None = None) -> Model | None:
        try:
            return self.open(source, dimension)
        except ConfigurationError as error:
            log.warning("the embedding model of a collection cannot be used: %s", error.message)
            return None

    def close(self) -> None:
        for model in self._open:
            model.close()

    def _known(self, name: str, dimension: int) -> Model | None:
        def is_it(model: Model) -> bool:
            return (model.service.embedder.model_name, model.service.embedder.dimension) == (name, dimension)

        return next(filter(is_it, self._open), None)
