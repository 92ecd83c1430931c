"""What a catalog costs that has grown old, beside a young one.

    python -m benchmarks.old_catalog [--sizes 2000,200000] [--folder FOLDER]

For each size, makes a watched folder of so many files, all of them indexed, and half as many ended jobs. Measures, over
a real catalog (SQLite), a private Redis and the real application in this process:

- the processor time of a pass of maintenance and of a scan of the watcher while nothing happens, as a share of a core,
- the time until a dropped file is in the catalog,
- the time of each route that lists,

and the processor time of a whole stack over the same folder that has nothing to do. It takes about ten minutes, most of
them for making the larger folder and for starting stacks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis
import sqlalchemy as sa

from api.app import create_app, open_services
from benchmarks.idle_stack import idle_shares, running_stack, runtime_of
from benchmarks.report import percentile, print_table
from cli.redis_server import find_redis_server, write_config
from core.blobs import BlobStore
from core.catalog import Catalog, DocumentState, JobState, Source, folder_attributes
from core.catalog.tables import collections, documents, jobs
from core.ids import new_id
from core.settings import Settings, load_settings
from tasks.documents.reconciliation import RECONCILE_SECONDS, Reconciliation
from tasks.jobs.producer import Producer
from watchers.folder_source import FolderSource, folder_sources, pause_between_scans

#: Files of a folder, bytes of a job's request and of its result, and rows of one insertion.
FILES_PER_FOLDER, JOB_BYTES, INSERTED_ROWS = 500, 400, 5_000
RESCAN_SECONDS = 60.0
TARGETS = {"idle": 0.02, "dropped": 3.0, "list": 0.05}
ROUNDS = 40
#: How long a stack is left alone before its processor time is measured, and over which time.
SETTLE_SECONDS, IDLE_SECONDS = 30.0, 120.0
REDIS_BYTES = 256 * 2**20


@dataclass
class Figures:
    """What was measured at one size: shares of a core, and seconds."""

    maintenance: float = 0.0
    scan: float = 0.0
    scan_seconds: float = 0.0
    scan_pause: float = 0.0
    stack: float = 0.0
    dropped: list[float] = field(default_factory=list)
    routes: dict[str, float] = field(default_factory=dict)


# The old catalog


def make_files(inbox: Path, count: int) -> Iterator[tuple[str, Any]]:
    """Make files in folders, and yield the path and the state of each."""
    for number in range(count):
        folder = inbox / f"folder-{number // FILES_PER_FOLDER:04}"
        if number % FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        path = folder / f"note-{number:06}.txt"
        path.write_text(f"Note {number}.")
        yield str(path.relative_to(inbox)), path.stat()


def document_row(path: str, stat: Any, number: int, inbox: Path, collection: sa.Row[Any], now: float) -> dict[str, Any]:
    """Return the row of a file that was indexed, or, one in a hundred, could not be read."""
    failed = number % 100 == 0
    at = now - 86_400 + number / 10
    return {
        "id": new_id("doc"), "collection_id": collection.id, "placement": collection.placement,
        "filename": path.rpartition("/")[2], "path": path,
        "root": str(inbox), "source": Source.WATCH, "generation": 1, "chunk_count": 0 if failed else 5, "attempts": 0,
        "state": DocumentState.FAILED if failed else DocumentState.COMPLETED, "content_hash": f"{number:064x}",
        "active_generation": None if failed else 1, "size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns,
        "inode": stat.st_ino, "media_type": "text/plain", "attributes": folder_attributes(path), "moved": False,
        "error": "It is damaged." if failed else None, "error_code": "invalid_file" if failed else None, "token": 2,
        "properties": {"author": "A. Writer", "pages": "3"}, "created_at": at, "updated_at": at, "ended_at": at,
    }  # fmt: skip


def job_row(number: int, body: str, now: float) -> dict[str, Any]:
    """Return the row of a job that has ended."""
    return {
        "id": new_id("job"), "kind": "chat", "endpoint": "/v1/chat/completions", "state": JobState.COMPLETED,
        "attempt": 1, "request": body, "result": body, "created_at": now - number, "finished_at": now - number,
    }  # fmt: skip


def fill(catalog: Catalog, inbox: Path, count: int) -> None:
    """Add indexed documents, and half as many ended jobs."""
    now = time.time()
    with catalog._read() as connection:
        collection = connection.execute(sa.select(collections).where(collections.c.name == "default")).one()
    files = enumerate(make_files(inbox, count))
    insert(
        catalog, documents, (document_row(path, stat, number, inbox, collection, now) for number, (path, stat) in files)
    )
    body = json.dumps({"text": "x" * JOB_BYTES})
    insert(catalog, jobs, (job_row(number, body, now) for number in range(count // 2)))
    catalog.compact_counts()


def insert(catalog: Catalog, table: sa.Table, rows: Iterator[dict[str, Any]]) -> None:
    """Insert rows, many at a time."""
    while batch := [row for row, _ in zip(rows, range(INSERTED_ROWS), strict=False)]:
        with catalog._write() as connection:
            connection.execute(sa.insert(table), batch)


def stack_settings(folder: Path) -> dict[str, str]:
    """Return the settings of a stack over a catalog, as environment variables."""
    inbox = str(folder / "inbox")
    return {"DATA_DIR": str(folder / "data"), "WATCH_DIRS": inbox, "WATCH_RESCAN_SECONDS": f"{RESCAN_SECONDS:g}"}


def begin(folder: Path) -> None:
    """Have a stack make the catalog and index a file, so that the collection has its place in the vector store."""
    (folder / "inbox").mkdir()
    (folder / "inbox" / "first.txt").write_text("The first file.")
    with running_stack(folder, stack_settings(folder)) as base_url:
        while not httpx.get(f"{base_url}/v1/rag/documents?status=completed").json()["data"]:
            time.sleep(0.1)


# Measuring


def measure_idle(folder: Path, settings: Settings, figures: Figures) -> None:
    """Run a stack over the catalog, and measure its processor time while nothing happens.

    Add the share of scans if they are so rare that none falls into this time.
    """
    with running_stack(folder, stack_settings(folder)):
        time.sleep(SETTLE_SECONDS)
        figures.stack = sum(idle_shares(runtime_of(settings), IDLE_SECONDS).values())
    if figures.scan_pause > SETTLE_SECONDS + IDLE_SECONDS:
        figures.stack += figures.scan


def share_of_core(act: Callable[[], object], period_seconds: float, rounds: int) -> float:
    """Return the processor time of a call that is made once in each period, as a share of one core."""
    began = time.process_time()
    for _ in range(rounds):
        act()
    return (time.process_time() - began) / rounds / period_seconds


def measure_scan(watcher: FolderSource, figures: Figures) -> None:
    """Scan twice: what the first one caches stays cached while the watcher runs."""
    watcher._scan_fully()
    began, processor_began = time.monotonic(), time.thread_time()
    watcher._scan_fully()
    processor_seconds = time.thread_time() - processor_began
    figures.scan_seconds = time.monotonic() - began
    figures.scan_pause = pause_between_scans(RESCAN_SECONDS, processor_seconds)
    figures.scan = processor_seconds / figures.scan_pause


def measure_dropped(watcher: FolderSource, catalog: Catalog, inbox: Path, figures: Figures) -> None:
    """Drop files while the watcher runs, the last one while it scans everything."""
    thread = threading.Thread(target=watcher.run)
    thread.start()
    while watcher.info()["state"] == "starting":
        time.sleep(0.01)
    for number in range(5):
        path = inbox / "folder-0000" / f"dropped-{number}.txt"
        if number == 4:
            watcher._on_overflow()
        path.write_text(f"A new file {number}.")
        written = time.monotonic()
        while not catalog.documents_at(str(inbox), [f"folder-0000/{path.name}"]):
            time.sleep(0.01)
        figures.dropped.append(time.monotonic() - written)
    watcher.stop()
    thread.join()


async def measure_routes(settings: Settings, figures: Figures) -> None:
    """Ask each route that lists several times, through the application."""
    async with open_services(settings) as services:
        app = create_app(services=services)
        app.state.services = services
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            page = (await client.get("/v1/rag/documents", params={"limit": 100})).json()
            for name, route in routes(page["last_id"]).items():
                took = []
                for _ in range(ROUNDS):
                    began = time.monotonic()
                    (await client.get(route)).raise_for_status()
                    took.append(time.monotonic() - began)
                figures.routes[name] = percentile(took, 0.95)


def routes(last_id: str) -> dict[str, str]:
    """Return the routes that list, and those whose answer counts, by short names."""
    documents, collection = "/v1/rag/documents?limit=100", "/v1/rag/collections/default"
    return {
        "documents": documents,
        "documents, next page": f"{documents}&after={last_id}",
        "failed documents": f"{documents}&status=failed",
        "documents in work": f"{documents}&status=indexing",
        "failed of a collection": f"{documents}&collection=default&status=failed",
        "jobs": "/v1/jobs?limit=100",
        "completed jobs": "/v1/jobs?status=completed",
        "collections": "/v1/rag/collections",
        "a collection": collection,
        "skipped files": f"{collection}/skipped",
        "watched folders": "/v1/watch",
        "metrics": "/metrics",
    }


@contextmanager
def private_redis(folder: Path) -> Iterator[str]:
    """Run a Redis server with a socket in this folder, and yield its URL."""
    socket = folder / "redis.sock"
    write_config(folder / "redis.conf", socket=socket, data_dir=folder / "redis", max_memory_bytes=REDIS_BYTES)
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen([find_redis_server(), folder / "redis.conf"], stdout=log, stderr=log)
    try:
        while not answers(socket):
            time.sleep(0.05)
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(20)


def answers(socket: Path) -> bool:
    """Return whether a Redis server listens at this socket."""
    try:
        with redis.Redis(unix_socket_path=str(socket)) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def measure(folder: Path, count: int) -> Figures:
    """Make a catalog of this size, and measure everything."""
    figures = Figures()
    inbox = folder / "inbox"
    begin(folder)
    with private_redis(folder) as url:
        settings = load_settings(
            _env_file=None,
            data_dir=folder / "data",
            redis_url=url,
            watch_dirs=(str(inbox),),
            watch_rescan_seconds=RESCAN_SECONDS,
        )
        catalog, producer = Catalog.open(settings.catalog_url), Producer(settings)
        catalog.migrate()
        fill(catalog, inbox, count)
        reconciliation = Reconciliation(settings, catalog, BlobStore(settings.blobs_path), producer)
        reconciliation.reconcile()
        figures.maintenance = share_of_core(reconciliation.reconcile, RECONCILE_SECONDS, ROUNDS)
        [watcher] = folder_sources(settings, catalog, producer)
        measure_scan(watcher, figures)
        measure_dropped(watcher, catalog, inbox, figures)
        asyncio.run(measure_routes(settings, figures))
        producer.close()
        catalog.close()
    measure_idle(folder, settings, figures)
    return figures


def rows_of(figures: Figures) -> Iterator[tuple[str, str, float]]:
    """Yield what was measured: its name, its value, and its ratio to what it may be."""
    yield "idle stack, of a core", f"{figures.stack:.2%}", figures.stack / TARGETS["idle"]
    yield "of it maintenance", f"{figures.maintenance:.2%}", figures.maintenance / TARGETS["idle"]
    scan = f"{figures.scan:.2%} ({figures.scan_seconds:.1f} s in {figures.scan_pause:.0f} s)"
    yield "of it scans", scan, figures.scan / TARGETS["idle"]
    median, worst = statistics.median(figures.dropped), max(figures.dropped)
    yield "dropped file, p50", f"{median:.2f} s", median / TARGETS["dropped"]
    yield "dropped file, worst", f"{worst:.2f} s", worst / TARGETS["dropped"]
    for name, seconds in figures.routes.items():
        yield f"list: {name}", f"{seconds * 1000:.1f} ms", seconds / TARGETS["list"]


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="2000,200000", help="numbers of documents, comma-separated")
    parser.add_argument("--folder", type=Path, help="where the catalogs are made (default: the system's)")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    results = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="llm-api-old-", dir=arguments.folder) as folder:
            results.append(list(rows_of(measure(Path(folder), size))))
    table = [
        (measured[0][0], *(cell for _, value, ratio in measured for cell in (value, f"{ratio:.2f}")))
        for measured in zip(*results, strict=True)
    ]
    columns = ("what", *(name for size in sizes for name in (f"{size:,} documents", "of the limit")))
    print_table("A catalog of documents and half as many ended jobs; p95 of routes", columns, table)


if __name__ == "__main__":
    main()
