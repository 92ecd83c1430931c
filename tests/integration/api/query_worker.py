"""A worker of the `query` queue in the process of the test."""

from __future__ import annotations

import threading
from typing import cast

from core.catalog import Catalog
from core.settings import Settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.retrieval.cross_encoder import CrossEncoderReranker
from ingest.vector_store import VectorStore
from tasks.documents.embedding_models import Model, Models
from tasks.jobs.heartbeats import JobHeartbeats
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue
from tasks.jobs.runner import JobRunner
from tasks.queries.cosine_scales import CosineScales
from tasks.queries.service import QueryService


class QueryWorker:
    """Runs the jobs that wait in the `query` queue on a few threads, as a Celery worker does."""

    def __init__(self, settings: Settings, catalog: Catalog, embedder: Embedder) -> None:
        self.producer = Producer(settings)
        self.producer.records.redis.flushdb()
        self._heartbeats = JobHeartbeats(self.producer.records)
        self._service = EmbeddingService(embedder)
        self.query = QueryService(
            JobRunner(self.producer, catalog, self._heartbeats),
            self.producer,
            catalog,
            Models(Model(self._service, cast(VectorStore, None))),
            {},
            scales=CosineScales(catalog),
            reranker=CrossEncoderReranker.from_settings(settings, self._service),
        )
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while not self._stopped.wait(0.002):
            for job_id in self.producer.records.next_waiting(Queue.QUERY, 4):
                record = self.producer.records.load(job_id)
                if record is not None:
                    getattr(self.query, record.task.name.removeprefix("query."))(job_id)

    def close(self) -> None:
        """Stop the threads, and close all that they use."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._service.close()
        self._heartbeats.close()
        self.producer.close()
