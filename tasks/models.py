"""The embedding model that search uses with its store, and the next one of both while it is being filled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from core.catalog import Catalog, StoreRecord
from core.errors import ConfigurationError
from core.settings import Settings
from ingest.embedder import Embedder, EmbeddingService
from ingest.vector_store import VectorStore, open_vector_store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """An embedding model and the store of its vectors. `source` is what EMBEDDING_MODEL_NAME was for it."""

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
class Models:
    """The model that answers, and the one that is to take over from it."""

    serving: Model
    upcoming: Model | None = None
    #: Called once the upcoming one has taken over.
    on_switch: Callable[[Model], None] = lambda _: None

    @property
    def all(self) -> tuple[Model, ...]:
        """Where everything that is written or deleted goes."""
        return (self.serving, self.upcoming) if self.upcoming else (self.serving,)

    def close(self) -> None:
        """Closes both."""
        for model in self.all:
            model.close()


def open_model(settings: Settings) -> Model:
    """Loads the model of the settings and opens its store."""
    service = EmbeddingService(Embedder.from_settings(settings))
    try:
        embedder = service.embedder
        store = open_vector_store(settings, embedder.dimension, embedder.model_name)
    except BaseException:
        service.close()
        raise
    return Model(service, store, settings.embedding_model_name)


def open_former_model(catalog: Catalog, settings: Settings, wanted: Model) -> Model | None:
    """The model that the catalog's documents are in, if that is another one than `wanted` and is still to be had.

    With it, search goes on while the documents are embedded by `wanted`. Without it (its files or its points are gone)
    the documents are hidden until they are embedded again.
    """
    known = catalog.store_record()
    here = wanted.record
    if known is None or (known.embedding_model, known.dimension) == (here.embedding_model, here.dimension):
        return None
    changes = {"embedding_model_name": known.model_source, "embedding_dimension": known.dimension}
    try:
        former = open_model(settings.model_copy(update=changes))
    except ConfigurationError as error:
        log.warning("the former embedding model %s cannot be used: %s", known.embedding_model, error.message)
        return None
    if former.record == known:
        return former
    log.warning("the vectors of the former embedding model %s are gone", known.embedding_model)
    former.close()
    return None
