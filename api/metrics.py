"""The metrics of this process, for Prometheus."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response

from api.dependencies import Services, in_thread
from tasks.jobs.queues import Role

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The metrics of one application. Each has its own registry, so that one process can hold several applications."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ["method", "status"]
        self._requests = Counter("llm_api_http_requests", "HTTP requests answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "llm_api_http_request_seconds",
            "Time to the end of the answer.",
            ["method"],
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self._queued = Gauge(
            "llm_api_queue_messages", "Messages that wait in a queue.", ["queue"], registry=self._registry
        )
        self._documents = Gauge("llm_api_documents", "Documents by state.", ["state"], registry=self._registry)
        self._engine = Gauge(
            "llm_api_engine",
            "Counters and gauges of an inference worker's engine: slots, waiting, steps, cached_tokens, …",
            ["worker", "figure"],
            registry=self._registry,
        )

    def observe(self, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, str(status)).inc()
        self._seconds.labels(method).observe(seconds)

    async def response(self, services: Services) -> Response:
        """Return the metrics in Prometheus' text format.

        Raises:
            Unavailable: Redis or the catalog does not answer.
        """
        for queue, length in (await services.stream.queue_lengths()).items():
            self._queued.labels(queue).set(length)
        self._documents.clear()
        for state, count in (await in_thread(services.catalog.counts_by_state)).items():
            self._documents.labels(state).set(count)
        self._engine.clear()
        for worker, info in (await services.stream.workers(Role.INFERENCE)).items():
            for figure, value in info.get("engine", {}).items():
                self._engine.labels(worker, figure).set(value)
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
