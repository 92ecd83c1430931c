"""Many small files at once: they are dropped into a watched folder, their tree is renamed, then it is deleted.

    python -m benchmarks.bulk [--files N] [--long-files N]

Starts its own stack in a temporary folder. Exits with status 1 if a text was embedded twice or if points are left at
the end. The processor time of embedding is measured on the same texts without the stack, so "outside embedding" is what
the stack adds.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from benchmarks.report import print_table
from core.catalog import Catalog, Document, DocumentState
from core.settings import Settings, load_settings
from tests.support import Stack

TARGET_FILES_PER_SECOND = 60.0
TARGET_CPU_MS = 25.0
TARGET_EMBEDDING_SHARE = 0.6
#: About 60 and 250 tokens of the starter model.
PARAGRAPH_WORDS = 55
LONG_WORDS = 245
STAGES = ("watcher", "ingest", "index", "maintenance", "redis", "api", "flower")
VOCABULARY = """the of a and to in is it on for with as by at from this that are was be or an not has had its
harbour warranty machine river winter engine letter garden window music bridge market doctor paper station village
silver coffee mountain captain number signal motor island kitchen school engineer question answer journey history
weather opens closes carries holds follows leads covers lasts turns begins ends makes finds keeps brings early late new
old green cold warm quiet strong small large first second third twenty forty hundred thousand"""
WORDS = VOCABULARY.split()
BATCH_TEXTS = 16
#: Texts embedded without the stack, to measure the time for each.
BARE_TEXTS = 512
TIMEOUT_SECONDS = 3600.0


@dataclass
class Phase:
    """The time that one phase took: wall time, and processor time of each process with its children."""

    seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    def cpu_ms(self, files: int, stage: str) -> float:
        """Return the processor time of a stage for one file."""
        return self.cpu_seconds[stage] * 1000 / files


def text(source: random.Random, words: int) -> str:
    """Return a text that is different from all others."""
    return " ".join(source.choices(WORDS, k=words)) + f" {source.randrange(10**6)}.\n"


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and all its children, including those that have ended."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    times = [process.cpu_times() for process in processes]
    return sum(time.user + time.system + time.children_user + time.children_system for time in times)


class Bulk:
    """Runs the phases on a stack, and watches its catalog."""

    def __init__(self, stack: Stack, catalog: Catalog, settings: Settings) -> None:
        self._stack = stack
        self._catalog = catalog
        self._settings = settings

    def documents(self) -> list[Document]:
        """Return the documents of the watched folder."""
        return self._catalog.find_documents(str(self._stack.inbox))

    def phase(self, act: Callable[[], object], is_done: Callable[[], bool]) -> Phase:
        """Change the folder, and wait until the stack has caught up."""
        pids = {name: self._stack.pid_of(name) for name in STAGES}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        start = time.monotonic()
        act()
        while not is_done():
            if time.monotonic() - start > TIMEOUT_SECONDS:
                raise TimeoutError(f"the stack did not catch up: {self._catalog.counts_by_state()}")
            time.sleep(0.2)
        seconds = time.monotonic() - start
        return Phase(seconds, {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()})

    def drop(self, texts: Sequence[str], folder: str) -> Phase:
        """Write all files at once, and wait until the last one is searchable."""

        def act() -> None:
            for number, content in enumerate(texts):
                path = self._stack.inbox / folder / f"{number % 100:02}" / f"{number}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)

        before = self._catalog.counts_by_state().get(DocumentState.COMPLETED, 0)
        return self.phase(act, lambda: self._completed() == before + len(texts))

    def rename(self, folder: str, target: str) -> Phase:
        """Rename the whole tree, and wait until the index has the new path of every file."""
        files = self._completed()

        def is_done() -> bool:
            if self._catalog.moved_documents(1):
                return False
            paths = [document.path or "" for document in self.documents()]
            return len(paths) == files and all(path.startswith(f"{target}/") for path in paths)

        return self.phase(lambda: (self._stack.inbox / folder).rename(self._stack.inbox / target), is_done)

    def delete(self) -> Phase:
        """Delete everything, confirm it, and wait until nothing is left."""
        with httpx.Client(base_url=self._stack.base_url, timeout=30) as client:

            def is_done() -> bool:
                folders = client.get("/v1/watch").json()["data"]
                if any(folder["state"] == "held" and not folder["confirmed"] for folder in folders):
                    client.post("/v1/watch/confirm", json={})
                return not self._catalog.counts_by_state()

            return self.phase(self._clear, is_done)

    def _clear(self) -> None:
        for path in self._stack.inbox.iterdir():
            shutil.rmtree(path)

    def _completed(self) -> int:
        counts = self._catalog.counts_by_state()
        if counts.get(DocumentState.FAILED):
            raise RuntimeError(f"documents have failed: {self._catalog.coverage()}")
        return counts.get(DocumentState.COMPLETED, 0)


def bare_embedding(settings: Settings, texts: Sequence[str]) -> tuple[float, float]:
    """Return the wall and processor seconds of embedding texts without the stack, estimated from a sample."""
    from ingest.embedding.embedder import Embedder

    embedder = Embedder.from_settings(settings)
    ordered = sorted(random.Random(5).sample(texts, min(len(texts), BARE_TEXTS)), key=len)
    scale = len(texts) / len(ordered)
    embedder.encode(ordered[:BATCH_TEXTS], "document")
    wall, cpu = time.monotonic(), time.process_time()
    for start in range(0, len(ordered), BATCH_TEXTS):
        embedder.encode(ordered[start : start + BATCH_TEXTS], "document")
    return (time.monotonic() - wall) * scale, (time.process_time() - cpu) * scale


def remaining_points(settings: Settings) -> int:
    """Return the number of points in the embedded store of a stack that has stopped."""
    import qdrant_edge

    from ingest.embedding.embedder import Embedder
    from ingest.vector_store.edge import EdgeVectorStore

    embedder = Embedder.from_settings(settings)
    store = EdgeVectorStore(settings.state_dir / "vectors", embedder.model_name, embedder.dimension)
    try:
        return int(store._shard.count(qdrant_edge.CountRequest(exact=True)))
    finally:
        store.close()


def report(phases: dict[str, tuple[Phase, int]], embedding: dict[str, tuple[float, float]]) -> None:
    """Print wall time, files per second, and the processor time for a file by stage."""
    rows = []
    for name, (phase, files) in phases.items():
        wall, cpu = embedding.get(name, (0.0, 0.0))
        stages = [f"{phase.cpu_ms(files, stage):.1f}" for stage in STAGES]
        outside = sum(phase.cpu_seconds.values()) - cpu
        rows.append((name, f"{phase.seconds:.1f}", f"{files / phase.seconds:.0f}", *stages,
                     f"{cpu * 1000 / files:.1f}", f"{outside * 1000 / files:.1f}",
                     f"{wall / phase.seconds:.2f}"))  # fmt: skip
    columns = ("phase", "s", "files/s", *STAGES, "bare embedding", "all outside it", "embedding/wall")
    print_table("Processor time in ms for a file, by stage", columns, rows)
    drop, files = phases["drop"]
    outside_ms = (sum(drop.cpu_seconds.values()) - embedding["drop"][1]) * 1000 / files
    long, _ = phases["drop long"]
    share = embedding["drop long"][0] / long.seconds
    targets = [
        (
            "files/s",
            f"{files / drop.seconds:.0f}",
            TARGET_FILES_PER_SECOND,
            files / drop.seconds / TARGET_FILES_PER_SECOND,
        ),
        ("ms of CPU outside embedding", f"{outside_ms:.1f}", TARGET_CPU_MS, TARGET_CPU_MS / outside_ms),
        ("share of embedding, 250 tokens", f"{share:.2f}", TARGET_EMBEDDING_SHARE, share / TARGET_EMBEDDING_SHARE),
    ]
    print_table(
        "Targets", ("what", "here", "target", "ratio"),
        [(name, here, f"{target:g}", f"{ratio:.2f}") for name, here, target, ratio in targets],
    )  # fmt: skip


def main() -> int:
    """Run the benchmark; return 1 if a text was embedded twice or points are left, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--long-files", type=int, default=0, help="of 250 tokens (default: a tenth of --files)")
    arguments = parser.parse_args()
    source = random.Random(5)
    short = [text(source, PARAGRAPH_WORDS) for _ in range(arguments.files)]
    long = [text(source, LONG_WORDS) for _ in range(arguments.long_files or max(1, arguments.files // 10))]
    wrong = []
    with tempfile.TemporaryDirectory(prefix="llm-api-bulk-") as folder:
        settings = load_settings(_env_file=None, data_dir=Path(folder, "data"))
        with Stack(Path(folder)) as stack:
            catalog = Catalog.open(settings.catalog_url)
            bulk = Bulk(stack, catalog, settings)
            phases = {"drop": (bulk.drop(short, "first"), len(short))}
            embedded = [sum(document.chunks_embedded for document in bulk.documents())]
            phases["rename"] = (bulk.rename("first", "second"), len(short))
            embedded.append(sum(document.chunks_embedded for document in bulk.documents()))
            if set(embedded) != {len(set(short))} or any(one.generation != 1 for one in bulk.documents()):
                wrong.append(f"{len(set(short))} texts were embedded {embedded} times, after the drop and the rename")
            phases["drop long"] = (bulk.drop(long, "long"), len(long))
            phases["delete"] = (bulk.delete(), len(short) + len(long))
            catalog.close()
        if count := remaining_points(settings):
            wrong.append(f"{count} points are left")
        report(phases, {"drop": bare_embedding(settings, short), "drop long": bare_embedding(settings, long)})
    for fault in wrong:
        sys.stderr.write(f"{fault}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
