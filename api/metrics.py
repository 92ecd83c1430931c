"""The metrics of the whole deployment, in Prometheus' text format: `/metrics`, and a port of its own (METRICS_PORT)."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from core import metrics
from core.catalog.types import DocumentState
from core.disk import free_bytes
from core.errors import LlmApiError
from core.metric_snapshots import as_metrics
from core.settings import Settings

if TYPE_CHECKING:
    from core.catalog import Catalog
    from tasks.jobs.metric_store import MetricPublisher
    from tasks.jobs.producer import Producer

log = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST
PATH = "/metrics"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request. Methods that HTTP does not know count as one, as anybody may invent them."""
    method = method if method in _METHODS else "other"
    metrics.HTTP_REQUESTS.labels(method, route, str(status)).inc()
    metrics.HTTP_SECONDS.labels(method, route).observe(seconds)


def text_of(collector: Collector | None) -> bytes:
    """Return the metrics in Prometheus' text format; without a collector, those of this process alone. It blocks.

    Raises:
        Unavailable: Redis or the catalog does not answer.
    """
    return generate_latest(metrics.REGISTRY if collector is None else collector)


class DeploymentMetrics(Collector):
    """Collects what all processes have counted, and the state of the queues and the catalog."""

    def __init__(self, settings: Settings, catalog: Catalog, producer: Producer, publisher: MetricPublisher) -> None:
        self._settings, self._catalog, self._producer, self._publisher = settings, catalog, producer, publisher

    def collect(self) -> Iterator[Metric]:
        """Yield everything.

        This process publishes its own metrics first and reads them with the others, so that the next answer, which may
        be that of another API process, has no smaller counts.
        """
        from tasks.jobs.metric_store import MetricStore
        from tasks.jobs.queue_metrics import queue_metrics

        self._publisher.publish()
        yield from as_metrics(MetricStore(self._producer.records.redis).read())
        yield from queue_metrics(self._settings, self._producer)
        yield from catalog_metrics(self._settings, self._catalog)


def catalog_metrics(settings: Settings, catalog: Catalog) -> Iterator[Metric]:
    """Yield the numbers of documents, and the sizes of the catalog and of the disk."""
    counts = {state.value: 0 for state in DocumentState if state is not DocumentState.DELETED}
    counts |= catalog.counts_by_state()
    yield _gauge("documents", "Documents by state.", counts.items(), "state")
    yield _gauge("documents_failed", "Failed documents by reason.", catalog.failures_by_code().items(), "reason")
    yield _gauge("chunks", "Chunks of all documents.", [("", catalog.chunk_count())])
    yield _gauge("catalog_bytes", "Size of the catalog's database.", [("", catalog.size_bytes())])
    free = free_bytes(settings.state_dir)
    if free is not None:
        yield _gauge("disk_free_bytes", "Free space on the API's disk of DATA_DIR.", [("", free)])
        floor = settings.min_free_bytes
        yield _gauge("disk_floor_bytes", "Free space below which no new work is begun.", [("", floor)])


def _gauge(name: str, about: str, values: Iterable[tuple[str, float]], label: str = "") -> Metric:
    family = GaugeMetricFamily(f"llm_api_{name}", about, labels=[label] if label else [])
    for value_of_label, value in values:
        family.add_metric([value_of_label] if label else [], value)
    return family


class MetricsServer:
    """Serves `/metrics` without a key, on an address that only the monitoring can reach."""

    def __init__(self, collector: Collector, host: str, port: int) -> None:
        """Listen. Raise `OSError` if that is not possible."""
        server = type("_Server", (ThreadingWSGIServer,), {"address_family": _family_of(host)})
        self._collector = collector
        self._server: WSGIServer = make_server(host, port, self._answer, server, _QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        status, body = "200 OK", b""
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] != "GET":
            status, body = "404 Not Found", b"There is only GET /metrics here.\n"
        else:
            try:
                body = text_of(self._collector)
            except LlmApiError as error:
                status, body = f"{error.status} Unavailable", f"{error.message}\n".encode()
        kind = CONTENT_TYPE if status.startswith("200") else "text/plain; charset=utf-8"
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]


class _QuietHandler(WSGIRequestHandler):
    """Logs no requests: there is one every few seconds."""

    def log_message(self, format: str, *args: Any) -> None:
        """Do nothing."""


def _family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def open_metrics_server(settings: Settings, collector: Collector) -> MetricsServer | None:
    """Serve the metrics at METRICS_PORT, if it is set.

    Another API process of this host may have the port: it serves the same metrics, so this one goes on without.
    """
    if settings.metrics_port is None:
        return None
    try:
        return MetricsServer(collector, settings.metrics_host, settings.metrics_port)
    except OSError as error:
        log.warning("METRICS_PORT=%d on %s cannot be used: %s", settings.metrics_port, settings.metrics_host, error)
        return None
