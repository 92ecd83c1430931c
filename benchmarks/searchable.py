"""The time from the last write of a dropped file to the first search that finds it.

    python -m benchmarks.searchable [--base-url URL] [--rounds N] [--beside PARAGRAPHS]

Runs against a running stack that watches the first folder of `WATCH_DIRS`: an idle one, or with `--beside`, one that
indexes a book of so many paragraphs at the same time.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx

from benchmarks.report import percentile, print_table
from core.settings import get_settings

TARGET_SECONDS = 3.0
SENTENCE = "The night train to Vienna leaves at nine and arrives in the morning, when the cafés open. "
PAGE = "The warranty of the {name} lasts four years and covers its motor. " * 40


def seconds_until_found(client: httpx.Client, folder: Path) -> float:
    """Drop a one-page file with a unique word, search for it until it is found, and return the time that took."""
    name = f"zk{secrets.token_hex(5)}"
    path = folder / f"{name}.txt"
    path.write_text(PAGE.format(name=name))
    written = time.monotonic()
    while time.monotonic() - written < 30:
        answer = client.post("/v1/rag/search", json={"query": f"warranty of the {name}", "top_k": 3})
        answer.raise_for_status()
        if any(hit["filename"] == path.name for hit in answer.json()["data"]):
            took = time.monotonic() - written
            path.unlink()
            return took
        time.sleep(0.02)
    raise TimeoutError(f"{path} was not found within 30 s")


@contextmanager
def a_book_being_indexed(client: httpx.Client, folder: Path, paragraphs: int) -> Iterator[None]:
    """Drop a book, wait until its text is being embedded, and remove it at the end.

    Raises:
        RuntimeError: the book was too short, so that it was indexed before the end.
    """
    path = folder / f"book-{secrets.token_hex(5)}.txt"
    path.write_text(
        "\n\n".join(f"Chapter {n}. " + secrets.token_hex(3) + " " + SENTENCE * 12 for n in range(paragraphs))
    )
    try:
        while _state(client, path) != "indexing":
            time.sleep(0.1)
        yield
        if _state(client, path) != "indexing":
            raise RuntimeError(
                f"the book was indexed before the end: more than --beside {paragraphs} paragraphs are needed"
            )
    finally:
        path.unlink()


def _state(client: httpx.Client, path: Path) -> str:
    answer = client.get("/v1/rag/documents", params={"limit": 50})
    answer.raise_for_status()
    return next((one["status"] for one in answer.json()["data"] if one["filename"] == path.name), "")


def main() -> None:
    """Run the benchmark and print its table."""
    settings = get_settings()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--beside", type=int, default=0)
    arguments = parser.parse_args()
    with httpx.Client(base_url=arguments.base_url, timeout=30) as client:
        folder = settings.watch_roots[0].path
        load = a_book_being_indexed(client, folder, arguments.beside) if arguments.beside else nullcontext()
        with load:
            took = [seconds_until_found(client, folder) for _ in range(arguments.rounds)]
    median = statistics.median(took)
    row = (f"{median:.2f} s", f"{percentile(took, 0.95):.2f} s", f"{TARGET_SECONDS:.0f} s",
           f"{median / TARGET_SECONDS:.2f}", f"{settings.watch_stable_seconds:g} s")  # fmt: skip
    print_table(
        f"A dropped one-page file is searchable ({arguments.rounds} files, beside {arguments.beside} paragraphs)",
        ("p50", "p95", "target p50", "ratio", "of which WATCH_STABLE_SECONDS"),
        [row],
    )


if __name__ == "__main__":
    main()
