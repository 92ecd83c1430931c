"""Six hosts, as network namespaces: links that are cut, a host that dies, a wrong clock, and a second inference host.

    front    the API and Flower                    stores   Redis (TLS, password) and PostgreSQL
    files    ingest, maintenance and the watcher   index    the index worker, with the embedded vector store
    first    an inference worker                   second   another one, later

They share BLOB_DIR and the watched folder. There is no loopback between them.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.settings import load_settings
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from tests.e2e import hosts
from tests.e2e.hosts import Host, network
from tests.support import ROOT, clean_environment, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(3000)]

NAMES = ("stores", "front", "files", "index", "first", "second")
KEY, REDIS_PASSWORD, DATABASE_PASSWORD = "the-key-of-the-test", "of-redis", "of-postgres"
CUT_SECONDS = 30
WRONG_CLOCK = "+20s"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
CELERY = [sys.executable, "-P", "-m", "tasks", "worker"]
SLOW = [sys.executable, "-P", "-m", "tests.fakes.slow_inference", "worker"]
#: As docs/scaling.md says, but without the options that fit a larger machine.
COMMANDS = {
    "inference": ["-Q", "inference,batch", "-P", "threads", "-c", "72", "-n", "inference@%h"],
    "ingest": ["-Q", "ingest", "-P", "prefork", "-c", "1", "-n", "ingest@%h"],
    "index": ["-Q", "query,index", "-P", "threads", "-c", "40", "-n", "index@%h"],
    "maintenance": ["-Q", "maintenance", "-P", "solo", "-B", "-n", "maintenance@%h"],
}
START_SECONDS = 300.0


class Cluster:
    """The hosts, what runs on them, and a client of their API."""

    def __init__(self, found: dict[str, Host], folder: Path) -> None:
        self.hosts, self.inbox = found, folder / "inbox"
        self.inbox.mkdir()
        redis_url = hosts.start_redis(found["stores"], REDIS_PASSWORD)
        self._environment = clean_environment(
            REDIS_URL=redis_url,
            DATABASE_URL=hosts.start_postgresql(found["stores"], DATABASE_PASSWORD),
            BLOB_DIR=str(folder / "blobs"),
            WATCH_DIRS=str(self.inbox),
            WATCH_RESCAN_SECONDS="5",
            API_KEYS=KEY,
            INFERENCE_SLOTS="2",
            CONTEXT_LENGTH="1024",
            OMP_NUM_THREADS="1",
            GOMP_SPINCOUNT="3000",
            STRICT_MODELS="false",
        )
        self.settings = load_settings(_env_file=None, redis_url=redis_url)
        base = f"http://{found['front'].address}:8000"
        self.http = httpx.Client(base_url=base, headers={"authorization": f"Bearer {KEY}"}, timeout=120)

    def start_worker(self, host: str, role: str, *, program: list[str] = CELERY, **environment: str) -> None:
        """Start a worker of this role on a host."""
        self._start(host, role, [*program, *COMMANDS[role]], environment)

    def start_module(self, host: str, module: str, **environment: str) -> None:
        """Start the API or the watcher on a host."""
        self._start(host, module, [sys.executable, "-P", "-m", module], environment)

    def _start(self, name: str, what: str, command: list[str], environment: dict[str, str]) -> None:
        host = self.hosts[name]
        own = {"DATA_DIR": str(host.folder / "data"), "HOST": host.address, "PORT": "8000", "PYTHONPATH": str(ROOT)}
        host.start(what, command, {**self._environment, **own, **environment})

    def logs(self) -> str:
        return "\n".join(host.logs() for host in self.hosts.values())

    def is_ready(self) -> bool:
        try:
            return self.http.get("/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return all documents by name."""
        found: dict[str, dict[str, Any]] = {}
        after = ""
        while True:
            page = self.http.get(
                "/v1/rag/documents", params={"limit": 100, **({"after": after} if after else {})}
            ).json()
            for document in page["data"]:
                twice = found.get(document["filename"])
                assert twice is None, f"two documents of one file: {document}, {twice}"
                found[document["filename"]] = document
            if not page["has_more"]:
                return found
            after = page["last_id"]

    def are_searchable(self, names: set[str]) -> bool:
        try:
            found = self.documents()
        except (httpx.HTTPError, KeyError):
            return False
        return all(found.get(name, {}).get("status") == "completed" for name in names)

    def finds(self, question: str) -> str:
        answer = self.http.post("/v1/rag/search", json={"query": question, "top_k": 1}).json()
        return str(answer["data"][0]["filename"]) if answer.get("data") else ""

    def chat(self, words: str = "Count to ten.", tokens: int = 24) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": words}], "max_tokens": tokens, "ignore_eos": True}
        return self.http.post("/v1/chat/completions", json=body)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if missing := hosts.missing_programs():
        pytest.skip(f"needs {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("hosts")
    with network(folder, NAMES) as found:
        cluster = Cluster(found, folder)
        for host, role in (("files", "ingest"), ("files", "maintenance"), ("index", "index"), ("first", "inference")):
            cluster.start_worker(host, role)
        cluster.start_module("files", "watchers")
        cluster.start_module("front", "api.server")
        try:
            wait_until(cluster.is_ready, START_SECONDS, "the cluster's start")
            yield cluster
        finally:
            print(cluster.logs())


def fact(number: int) -> str:
    return f"The lighthouse of harbour {number} has the signal code HX-{number:04d} and {number + 3} steps."


def drop(cluster: Cluster, numbers: range) -> set[str]:
    names = set()
    for number in numbers:
        (cluster.inbox / f"harbour-{number}.txt").write_text(fact(number))
        names.add(f"harbour-{number}.txt")
    return names


def test_files_are_found_and_asked_about_across_hosts(cluster: Cluster) -> None:
    names = drop(cluster, range(10))
    wait_until(lambda: cluster.are_searchable(names), 120, "ten files")
    assert cluster.finds("Which signal code has the lighthouse of harbour 7? HX-0007") == "harbour-7.txt"
    answer = cluster.http.post("/v1/rag/chat", json={"query": "How many steps has the lighthouse of harbour 4?"})
    assert answer.status_code == 200, answer.text
    assert "harbour-4.txt" in {source["file"] for source in answer.json()["sources"]}


def test_a_stream_survives_a_cut_of_its_worker_or_ends_with_an_error(cluster: Cluster) -> None:
    body = {
        "messages": [{"role": "user", "content": "Tell a long story."}],
        "max_tokens": 200,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    lines: list[str] = []
    with cluster.http.stream("POST", "/v1/chat/completions", json=body, timeout=300) as answer:
        assert answer.status_code == 200
        cut = threading.Event()
        for line in answer.iter_lines():
            lines.append(line)
            if len(lines) == 10 and not cut.is_set():
                cut.set()
                threading.Thread(target=cut_for_a_while, args=(cluster.hosts["first"],)).start()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    is_whole = data[-1] == "[DONE]" and '"completion_tokens":200' in data[-2].replace(" ", "")
    assert is_whole or '"error"' in data[-1], data[-3:]
    wait_until(lambda: cluster.chat().status_code == 200, 90, "a chat after the cut")


def cut_for_a_while(host: Host) -> None:
    host.cut()
    time.sleep(CUT_SECONDS)  # the fault itself: a link that is away for this long
    host.heal()


def test_files_that_come_while_the_stores_are_cut_off_are_indexed_afterwards(cluster: Cluster) -> None:
    stores = cluster.hosts["stores"]
    thread = threading.Thread(target=cut_for_a_while, args=(stores,))
    thread.start()
    names = drop(cluster, range(10, 20))
    thread.join()
    wait_until(cluster.is_ready, 120, "the API's return")
    wait_until(lambda: cluster.are_searchable(names), 180, "files of the time of the cut")
    assert cluster.finds("signal code HX-0013 of the lighthouse of harbour 13") == "harbour-13.txt"


@pytest.mark.skipif(not Path(FAKETIME).exists(), reason="faketime is not installed: apt-get install faketime")
def test_a_host_that_dies_comes_back_with_a_wrong_clock_and_nothing_is_lost_or_twice(cluster: Cluster) -> None:
    names = drop(cluster, range(20, 60))
    wait_until(lambda: len(cluster.documents()) > 30, 120, "some of the files")
    cluster.hosts["files"].kill()
    wrong = {"LD_PRELOAD": FAKETIME, "FAKETIME": WRONG_CLOCK, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    cluster.start_worker("files", "ingest", **wrong)
    cluster.start_worker("files", "maintenance", **wrong)
    cluster.start_module("files", "watchers", **wrong)
    wait_until(lambda: cluster.are_searchable(names), 240, "the files, by a host whose clock is wrong")
    (cluster.inbox / "harbour-20.txt").unlink()
    wait_until(lambda: "harbour-20.txt" not in cluster.documents(), 90, "the deletion")
    assert set(cluster.documents()) == {path.name for path in cluster.inbox.iterdir()}


def test_jobs_of_a_host_that_dies_are_done_by_another(cluster: Cluster) -> None:
    cluster.start_worker("second", "inference")
    wait_until(lambda: inference_workers(cluster) == 2, START_SECONDS, "the second inference host")
    body = {"messages": [{"role": "user", "content": "Tell a story."}], "max_tokens": 150, "ignore_eos": True}
    headers = {"prefer": "respond-async"}
    jobs = [cluster.http.post("/v1/chat/completions", json=body, headers=headers).json()["id"] for _ in range(6)]
    wait_until(lambda: any(state_of(cluster, job) == "running" for job in jobs), 60, "a running job")
    cluster.hosts["first"].kill()
    wait_until(lambda: all(state_of(cluster, job) == "completed" for job in jobs), 240, "all jobs")
    for job in jobs:
        result = cluster.http.get(f"/v1/jobs/{job}").json()["result"]
        assert result["usage"]["completion_tokens"] == 150
    cluster.hosts["second"].kill()


def test_a_second_inference_host_answers_nearly_twice_as_much(cluster: Cluster) -> None:
    # A thread for each: engines that share cores slow each other down, which engines of two hosts do not.
    cluster.start_worker("first", "inference", program=SLOW, INFERENCE_THREADS="1")
    wait_until(lambda: is_answered(cluster), START_SECONDS, "the first host with a slow engine")
    alone = tokens_per_second(cluster)
    cluster.start_worker("second", "inference", program=SLOW, INFERENCE_THREADS="1")
    wait_until(lambda: inference_workers(cluster) == 2, START_SECONDS, "the second host with a slow engine")
    both = tokens_per_second(cluster)
    print(f"tokens/s: one host {alone:.1f}, two hosts {both:.1f}, ratio {both / alone:.2f}")
    assert both / alone >= 1.8


def state_of(cluster: Cluster, job: str) -> str:
    return str(cluster.http.get(f"/v1/jobs/{job}").json()["status"])


def inference_workers(cluster: Cluster) -> int:
    producer = Producer(cluster.settings)
    try:
        return len(producer.workers(Role.INFERENCE))
    finally:
        producer.close()


def is_answered(cluster: Cluster) -> bool:
    return cluster.chat(tokens=2).status_code == 200


def tokens_per_second(cluster: Cluster, clients: int = 12, seconds: float = 40.0) -> float:
    """Return what all clients together get, each of which asks again as soon as it has its answer."""
    end = time.monotonic() + seconds

    def ask(number: int) -> int:
        tokens = 0
        while time.monotonic() < end:
            answer = cluster.chat(f"Number {number}.", tokens=20)
            tokens += answer.json()["usage"]["completion_tokens"] if answer.status_code == 200 else 0
        return tokens

    with ThreadPoolExecutor(clients) as pool:
        began = time.monotonic()
        total = sum(pool.map(ask, range(clients)))
        return total / (time.monotonic() - began)
