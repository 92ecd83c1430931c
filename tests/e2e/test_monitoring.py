"""Prometheus scrapes a stack that works: every query of the board and the rules is answered, and no counter falls."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.documents import settled
from tests.monitoring import PROMETHEUS, board_queries, documented, names_in, rule_queries
from tests.support import Stack, free_port, wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.check,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="apt-get install prometheus"),
]

#: What nothing happened to has no sample, such as what counts faults.
MAY_BE_EMPTY = ("llm_api_watcher_lost_events_total", "llm_api_queue_messages > 0")


class Prometheus:
    """A server that scrapes a stack every second with the configuration in `deploy/`."""

    def __init__(self, folder: Path, target: int) -> None:
        config = (PROMETHEUS / "prometheus.yml").read_text()
        config = config.replace("127.0.0.1:9464", f"127.0.0.1:{target}").replace("interval: 10s", "interval: 1s")
        (folder / "prometheus.yml").write_text(config)
        shutil.copy(PROMETHEUS / "rules.yml", folder)
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--log.level=warn"]
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}"], cwd=folder, stdout=log, stderr=log
            )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples that a query finds now."""
        try:
            answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
        except httpx.TransportError:
            return []  # it has not started yet
        assert answer.status_code in (200, 503), answer.text
        return answer.json()["data"]["result"] if answer.status_code == 200 else []

    def value(self, expression: str) -> float:
        """Return the value of a query that finds one sample, or 0 if it finds none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else 0.0


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Prometheus]]:
    folder = tmp_path_factory.mktemp("monitored")
    port = free_port()
    with Stack(folder, {"METRICS_PORT": str(port), "WATCH_STABLE_SECONDS": "0.2"}) as stack:
        prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), port)
        try:
            wait_until(lambda: prometheus.query("llm_api_workers"), 30)
            yield stack, prometheus
        finally:
            prometheus.process.terminate()
            prometheus.process.wait(20)


@pytest.fixture(scope="module")
def used(monitored: tuple[Stack, Prometheus]) -> tuple[Stack, Prometheus]:
    """Use the stack for everything that is measured, and kill a worker in between."""
    stack, prometheus = monitored
    with httpx.Client(base_url=stack.base_url, timeout=60) as http:
        (stack.inbox / "tea.txt").write_text("Green tea is steeped for two minutes at eighty degrees.")
        (stack.inbox / "broken.pdf").write_bytes(b"%PDF-1.7 this is none")
        settled(http, "tea.txt")
        settled(http, "broken.pdf")
        wait_until(lambda: prometheus.value("sum(llm_api_documents_indexed_total)") == 1, 20)
        os.kill(stack.pid_of("index"), signal.SIGKILL)
        ask(http, "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20})
        too_long = {"messages": [{"role": "user", "content": "word " * 100_000}]}
        assert http.post("/v1/chat/completions", json=too_long).status_code == 400
        (stack.inbox / "coffee.txt").write_text("Coffee is ground before it is brewed.")
        settled(http, "coffee.txt", 180)
        ask(http, "/v1/rag/chat", {"query": "How long is green tea steeped?", "max_tokens": 20})
        ask(http, "/v1/embeddings", {"input": "tea", "model": "x"})
    return stack, prometheus


def ask(http: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text


def text_of(stack: Stack) -> str:
    return httpx.get(f"http://127.0.0.1:{stack.environment['METRICS_PORT']}/metrics", timeout=10).text


def test_what_processes_count_is_at_both_ports_and_a_worker_that_was_killed_still_counts(
    used: tuple[Stack, Prometheus],
) -> None:
    stack, prometheus = used
    wait_until(lambda: prometheus.value("sum(llm_api_documents_indexed_total)") == 2, 20)
    with httpx.Client(base_url=stack.base_url) as http:
        assert 'llm_api_documents_indexed_total{collection="default"' in http.get("/metrics").text
    samples = {"counter": "{}", "histogram": "{}_count"}
    growing = [samples[kind].format(name) for name, kind in documented().items() if kind in samples]
    assert [name for name in growing if prometheus.query(f"resets({name}[10m]) > 0")] == []
    instances = {one["metric"]["instance"] for one in prometheus.query("llm_api_process_cpu_seconds_total")}
    roles = {one["metric"]["role"] for one in prometheus.query("llm_api_process_cpu_seconds_total")}
    assert roles == {"api", "ingest", "index", "inference", "maintenance", "watcher", "supervisor"}
    assert len(instances) == len(roles), "a worker that was started again is the same instance"


def test_every_query_of_the_board_returns_data(used: tuple[Stack, Prometheus]) -> None:
    stack, prometheus = used
    known = set(re.findall(r"^# TYPE (\w+)", text_of(stack), re.MULTILINE))
    for query in board_queries():
        assert names_in(query) <= known, query
        if not any(name in query for name in MAY_BE_EMPTY):
            wait_until(lambda query=query: prometheus.query(query), 20, query)  # type: ignore[misc]


def test_every_query_of_the_rules_asks_for_what_is_there_and_nothing_is_wrong_with_this_stack(
    used: tuple[Stack, Prometheus],
) -> None:
    _, prometheus = used
    for alert, query in rule_queries().items():
        for name in names_in(query):
            parts = f'{{__name__=~"{name}(_bucket)?"}}'
            wait_until(lambda parts=parts: prometheus.query(parts), 20, f"{alert}: {name}")  # type: ignore[misc]
    firing = [one["metric"]["alertname"] for one in prometheus.query('ALERTS{alertstate="firing"}')]
    assert firing == []


def test_the_document_lists_exactly_the_metrics_that_there_are(used: tuple[Stack, Prometheus]) -> None:
    stack, _ = used
    assert dict(re.findall(r"^# TYPE (\w+) (\w+)", text_of(stack), re.MULTILINE)) == documented()
