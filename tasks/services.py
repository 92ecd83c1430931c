"""The composition root of a worker: builds the services of its roles, and nothing else.

Services are imported where they are built, so that a parsing child loads no model and an inference worker no parser.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from core.blobs import BlobStore
from core.bulk_work import BulkWork
from core.catalog import Catalog
from core.disk import DiskSpace
from core.models.names import model_slug
from core.settings import Settings, get_settings
from core.threads import switch_threads_often
from core.usage import UsageMeter
from tasks.documents.reconciliation import Reconciliation
from tasks.jobs.compatibility import require_compatible
from tasks.jobs.heartbeats import Announcer, Info, JobHeartbeats
from tasks.jobs.job_metrics import JobMetrics
from tasks.jobs.job_record import ServedModel
from tasks.jobs.metric_store import MetricPublisher, MetricStore
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from tasks.jobs.runner import JobRunner

if TYPE_CHECKING:
    from inference.engine.watchdog import Watchdog
    from ingest.retrieval.cross_encoder import CrossEncoderReranker
    from ingest.retrieval.retriever import Retriever
    from tasks.chat.engine_metrics import EngineMetrics
    from tasks.chat.generation import GenerationService
    from tasks.documents.embedding_models import Model, Models
    from tasks.documents.indexer import Indexer
    from tasks.documents.parsing import ParsingService
    from tasks.model_pulls import ModelPulls
    from tasks.queries.cosine_scales import CosineScales
    from tasks.queries.service import QueryService

log = logging.getLogger(__name__)

#: The services that have to be closed: threads first, and last what they use.
_IN_ORDER_OF_STOP = (
    "reconciliation",
    "indexer",
    "pulls",
    "watchdog",
    "generation",
    "scales",
    "models",
    "heartbeats",
    "usage",
    "publisher",
    "engine_metrics",
    "producer",
    "catalog",
)


@dataclass
class WorkerServices:
    """The services that the tasks of a worker process use. Each is built when it is first used."""

    settings: Settings
    roles: set[Role]
    name: str
    #: Whether its language model does jobs that any model may do. So the worker of the default model does.
    serves_any: bool = True
    pid: int = field(default_factory=os.getpid)
    announcers: list[Announcer] = field(default_factory=list)

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog.open(self.settings.catalog_url, self.producer.changes)

    @cached_property
    def blobs(self) -> BlobStore:
        return BlobStore(self.settings.blobs_path)

    @cached_property
    def producer(self) -> Producer:
        return Producer(self.settings)

    @cached_property
    def heartbeats(self) -> JobHeartbeats:
        return JobHeartbeats(self.producer.records)

    @cached_property
    def usage(self) -> UsageMeter:
        return UsageMeter(self.catalog.add_usage)

    @cached_property
    def runner(self) -> JobRunner:
        return JobRunner(
            self.producer, self.catalog, self.heartbeats, self.usage, lambda: self.served_model, JobMetrics()
        )

    @cached_property
    def reconciliation(self) -> Reconciliation:
        return Reconciliation(self.settings, self.catalog, self.blobs, self.producer)

    @cached_property
    def pulls(self) -> ModelPulls:
        from tasks.model_pulls import ModelPulls

        return ModelPulls(self.settings, self.producer, self.runner)

    @cached_property
    def parsing(self) -> ParsingService:
        from tasks.documents.parsing import ParsingService

        return ParsingService(self.settings, self.catalog, self.blobs, self.producer, self.name)

    @cached_property
    def generation(self) -> GenerationService:
        from tasks.chat.generation import GenerationService

        return GenerationService(self.settings, self.producer, self.runner)

    @cached_property
    def served_model(self) -> ServedModel:
        """The language model of this worker. Of a large file, the digest takes seconds, but only once."""
        from core.models.digests import ModelDigests

        model = self.generation.engine.model
        return ServedModel(model_slug(model.name), ModelDigests(self.settings).digest(Path(model.path)))

    @cached_property
    def engine_metrics(self) -> EngineMetrics:
        from tasks.chat.engine_metrics import EngineMetrics

        return EngineMetrics(self.generation.engine, self.served_model.slug)

    @cached_property
    def watchdog(self) -> Watchdog:
        from inference.engine.watchdog import Watchdog

        return Watchdog(self.generation.engine)

    @cached_property
    def models(self) -> Models:
        """The embedding models, each with its vector store."""
        from tasks.documents.embedding_models import open_models

        return open_models(self.catalog, self.settings)

    @cached_property
    def reranker(self) -> CrossEncoderReranker | None:
        from ingest.retrieval.cross_encoder import CrossEncoderReranker

        return CrossEncoderReranker.from_settings(self.settings, self.models.default.service)

    @cached_property
    def query(self) -> QueryService:
        from tasks.queries.service import QueryService

        return QueryService(
            self.runner,
            self.producer,
            self.catalog,
            self.models,
            {model: self._retriever(model) for model in self.models.all},
            scales=self.scales,
            reranker=self.reranker,
            rewrites=self.settings.rag_rewrite,
            expands=self.settings.rag_expand,
            dense_weight=self.settings.rag_dense_weight,
            threshold=self.settings.rag_score_threshold,
        )

    def _retriever(self, model: Model) -> Retriever:
        from ingest.retrieval.retriever import Retriever

        threshold = self.scales.of(model).threshold
        return Retriever(model.store, model.service, self.catalog.active_generations, threshold, self.reranker)

    @cached_property
    def scales(self) -> CosineScales:
        """What the cosines of each embedding model mean."""
        from tasks.queries.cosine_scales import CosineScales

        return CosineScales(self.catalog)

    @cached_property
    def indexer(self) -> Indexer:
        from tasks.documents.indexer import Indexer

        return Indexer(
            self.catalog, self.blobs, self.models, self.name, DiskSpace(self.settings), self.producer.changes.count
        )

    def start(self) -> None:
        """Build at once the services that are slow to build, so that the worker is ready when it announces itself."""
        require_compatible(self.producer)
        self.catalog.migrate()
        if self.roles & {Role.INFERENCE, Role.INDEX}:
            switch_threads_often()
        if Role.INFERENCE in self.roles:
            from inference.functions import load_functions

            load_functions(self.settings)
            _ = self.served_model
            _ = self.engine_metrics
            self._announce(Role.INFERENCE, self._inference_info)
            self.watchdog.start()
        if Role.INDEX in self.roles:
            self._announce(Role.INDEX, self._index_info)
            _ = self.query
            self.indexer.start()
        if Role.INGEST in self.roles:
            # Imported before the fork, so that the children share the memory and a replaced child starts at once.
            from ingest.pipeline import warm_up

            warm_up(self.settings)
            self.parsing.reclaim()
            self._announce(Role.INGEST, _process_info)
        if Role.MAINTENANCE in self.roles:
            self._announce(Role.MAINTENANCE, _process_info)

    def _announce(self, role: Role, info: Callable[[], Info]) -> None:
        """Add an announcer. The first one publishes the metrics of the process."""
        publisher = None
        if not self.announcers:
            publisher = self.publisher = MetricPublisher(MetricStore(self.producer.records.redis), role, self.name)
        self.announcers.append(Announcer(self.producer, role, self.name, info, publisher))

    def stop(self) -> None:
        """Stop the threads and close the stores of the services that were built."""
        built = vars(self)
        for name in _IN_ORDER_OF_STOP:
            if name in built:
                built[name].close()

    def _inference_info(self) -> Info:
        from inference.functions import function_registry

        engine = self.generation.engine
        if not engine.alive:
            # The engine has given up after several crashes in a row. A new process may succeed.
            log.critical("the inference engine is dead: this worker stops, for the supervisor to start a new one")
            os.kill(os.getpid(), signal.SIGTERM)
        stats = engine.stats()
        return {
            **_process_info(),
            "model": engine.model.as_dict(),
            "slug": self.served_model.slug,
            "digest": self.served_model.digest,
            "serves_any": self.serves_any,
            "functions": function_registry.schemas(),
            "alive": engine.alive,
            "silent_seconds": engine.silent_seconds,
            "engine": {**asdict(stats), "hung_function_calls": function_registry.hung_calls},
        }

    def _index_info(self) -> Info:
        embedder = self.models.default.service.embedder
        return {
            **_process_info(),
            "model": embedder.model_name,
            "models": [model.service.embedder.model_name for model in self.models.all],
            "dimension": embedder.dimension,
            "rerank_model": self.reranker.model_name if self.reranker is not None else None,
            "default_score_threshold": self.scales.of(self.models.default).threshold,
            # The models that a collection may choose ("": the default), with the tokens of a text that each one reads.
            "windows": {
                choice or "": model.service.embedder.max_tokens for choice, model in self.models.choices().items()
            },
        }


_STARTED_AT = time.time()


def _process_info() -> Info:
    return {"pid": os.getpid(), "started_at": _STARTED_AT}


_services: WorkerServices | None = None


def services() -> WorkerServices:
    """Return the services of this process."""
    if _services is None:
        raise RuntimeError("the worker has not started")
    return _services


def start_services(roles: set[Role], name: str, *, serves_any: bool = True) -> WorkerServices:
    """Build and start the services of a worker that has just started."""
    global _services
    _services = WorkerServices(get_settings(), roles, name, serves_any)
    _services.start()
    return _services


def reset_after_fork() -> None:
    """Give a forked child services, and so connections, of its own. Do nothing in a worker that does not fork.

    The children parse, and so does what they start, such as LibreOffice: all at the priority of bulk work.
    """
    global _services
    if _services is not None and _services.pid != os.getpid():
        BulkWork(_services.settings).lower_priority()
        _services = WorkerServices(_services.settings, _services.roles, _services.name, _services.serves_any)


def announce_ready() -> None:
    """Start announcing the worker, and the passes of maintenance."""
    for announcer in services().announcers:
        announcer.start()
    if Role.MAINTENANCE in services().roles:
        services().reconciliation.start()


def withdraw(*, at_once: bool) -> None:
    """Announce that the worker takes no more work, and release its jobs: `at_once`, or when they take too long."""
    if _services is not None and _services.pid == os.getpid():
        for announcer in _services.announcers:
            announcer.withdraw()
        if "runner" in vars(_services):
            _services.runner.release_all() if at_once else _services.runner.drain()


def stop_services() -> None:
    """Stop the services of a worker that is shutting down."""
    if _services is not None and _services.pid == os.getpid():
        _services.stop()
