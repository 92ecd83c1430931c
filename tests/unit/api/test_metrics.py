"""`/metrics` of an API process that knows of no other, and the port of its own."""

from __future__ import annotations

import socket

import httpx
import pytest
from prometheus_client.core import Metric

from api.dependencies import Services
from api.metrics import MetricsServer, catalog_metrics, open_metrics_server
from core.errors import Unavailable
from core.settings import Settings
from tests.support import free_port


async def test_metrics_count_requests_by_the_template_of_their_route(http: httpx.AsyncClient) -> None:
    route = "/v1/jobs/{job_id}"
    wanted = [("GET", route), ("HEAD", route), ("other", "unknown")]
    text = (await http.get("/metrics")).text
    before = [_counted(text, *one) for one in wanted]
    await http.get("/v1/jobs/one")
    await http.get("/v1/jobs/another")
    await http.head("/v1/jobs/one")
    await http.request("INVENTED", "/nowhere")
    text = (await http.get("/metrics")).text

    counted = [_counted(text, *one) for one in wanted]
    assert [now - earlier for now, earlier in zip(counted, before, strict=True)] == [2, 1, 1]


def _counted(text: str, method: str, route: str) -> float:
    """Return how many requests that found nothing were counted."""
    name = f'llm_api_http_requests_total{{method="{method}",route="{route}",status="404"}} '
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


class Silent:
    """Metrics of a deployment whose Redis does not answer."""

    def collect(self) -> list[Metric]:
        raise Unavailable("The queue (Redis) does not answer. Try again in a moment.")


def test_the_port_of_the_metrics_serves_nothing_else_and_says_what_does_not_answer() -> None:
    port = free_port()
    server = MetricsServer(Silent(), "127.0.0.1", port)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert client.get("/v1/models").status_code == client.post("/metrics").status_code == 404
            silent = client.get("/metrics")
    finally:
        server.close()
    assert silent.status_code == 503 and "Redis" in silent.text


def test_a_taken_port_leaves_the_api_without_one_of_its_own(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = settings.model_copy(update={"metrics_port": taken.getsockname()[1]})
        assert open_metrics_server(wanted, Silent()) is None
    assert "METRICS_PORT=" in caplog.text


def test_the_numbers_of_documents_are_those_of_the_catalog(settings: Settings, services: Services) -> None:
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in catalog_metrics(settings, services.catalog)
        for sample in metric.samples
    }
    assert values["llm_api_documents", "queued"] == 0, "each state is there, so that a board can show it"
    assert values[("llm_api_chunks",)] == 0 and values[("llm_api_catalog_bytes",)] > 0
    assert values[("llm_api_disk_free_bytes",)] > 0
