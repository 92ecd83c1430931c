"""Streams while many consoles are open, against streams alone; and what the first page transfers.

    INFERENCE_SLOTS=8 llm-api up
    python -m benchmarks.consoles [--base-url URL] [--consoles N] [--streams N] [--rounds N]

Runs against a running stack that has no other work. A console is what a browser asks of a server: the requests of its
page, and its stream of events, which is read and not shown, as browsers run elsewhere. They are in a process of their
own. A fifth of them load their page again every five seconds, as people do who click.

The first page is opened in a real Chromium (Debian's), with nothing in its cache.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import Any

import httpx

from benchmarks.http_streams import Clients
from benchmarks.report import percentile, print_table
from benchmarks.streaming import prompts
from core.settings import get_settings

TOKENS = 96
CLICK_SECONDS = 5
SPEED_TARGET, BYTES_TARGET = 0.95, 150_000
#: The requests of each page, the last of which is its stream of events.
PAGES = {
    "chat": ("/console/chat", "/v1/session", "/v1/models", "/v1/rag/collections", "/v1/events?topics=models,documents"),
    "documents": (
        "/console/documents", "/v1/session", "/v1/rag/documents?limit=100", "/v1/rag/collections", "/v1/watch",
        "/v1/events?topics=documents",
    ),
    "queue": ("/console/queue", "/v1/session", "/v1/queue", "/v1/throughput", "/v1/events?topics=jobs"),
    "models": ("/console/models", "/v1/session", "/v1/models", "/v1/events?topics=models,jobs"),
}  # fmt: skip


def open_consoles(base_url: str, count: int, is_open: Event, events: Any) -> None:
    """Open consoles, say so once all have their pages and streams, and keep them open. Runs in its own process."""
    asyncio.run(_consoles(base_url, count, is_open, events))


async def _consoles(base_url: str, count: int, is_open: Event, events: Any) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=base_url, timeout=None, limits=limits) as client:  # noqa: S113 - streams
        opened = asyncio.Semaphore(0)
        pages = itertools.islice(itertools.cycle(PAGES.values()), count)
        tasks = [
            asyncio.create_task(_console(client, page, number % 5 == 0, opened, events))
            for number, page in enumerate(pages)
        ]
        for _ in range(count):
            await opened.acquire()
        is_open.set()
        await asyncio.gather(*tasks)


async def _console(
    client: httpx.AsyncClient, page: Sequence[str], clicks: bool, opened: asyncio.Semaphore, events: Any
) -> None:
    *requests, stream = page
    changed = asyncio.Event()

    async def load() -> None:
        for path in requests:
            (await client.get(path)).raise_for_status()

    async def click() -> None:
        while clicks:
            await asyncio.sleep(CLICK_SECONDS)
            await load()

    async def follow() -> None:
        # As the queue's page does: what waits and runs, asked again at most once a second while jobs change.
        while "/v1/queue" in requests:
            await changed.wait()
            changed.clear()
            (await client.get("/v1/queue")).raise_for_status()
            await asyncio.sleep(1)

    await load()
    async with asyncio.TaskGroup() as others, client.stream("GET", stream) as response:
        others.create_task(click())
        others.create_task(follow())
        response.raise_for_status()
        opened.release()
        async for line in response.aiter_lines():
            if line.startswith("event:"):
                events.value += 1
                changed.set()
        raise RuntimeError(f"{stream} ended")


@contextmanager
def consoles(base_url: str, count: int) -> Iterator[Any]:
    """Keep consoles open, and yield the number of events that they had, which grows.

    Raises:
        RuntimeError: they ended.
    """
    context = multiprocessing.get_context("spawn")
    is_open, events = context.Event(), context.Value("l", 0)
    process = context.Process(target=open_consoles, args=(base_url, count, is_open, events), daemon=True)
    process.start()
    try:
        if not is_open.wait(60):
            raise RuntimeError("the consoles did not open")
        yield events
        if not process.is_alive():
            raise RuntimeError("the consoles ended")
    finally:
        process.kill()
        process.join()


def transferred_bytes(base_url: str, path: str) -> tuple[int, int]:
    """Return the bytes that Chromium transfers for a page, heads of answers included, and the number of requests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        session = page.context.new_cdp_session(page)
        sizes: list[int] = []
        session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
        session.send("Network.enable")
        page.goto(base_url + path)
        page.wait_for_load_state("load")
        # The requests of its scripts; the stream of events never ends, so that the network is never idle.
        page.get_by_role("textbox").first.wait_for()
        page.wait_for_timeout(2000)
        browser.close()
    return sum(sizes), len(sizes)


def main() -> None:
    """Run the benchmark and print its tables."""
    settings = get_settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--consoles", type=int, default=50)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    clients = Clients(arguments.base_url, TOKENS)
    questions = prompts(arguments.streams)
    clients.run(questions)
    alone, beside, had = [], [], 0
    for number in range(arguments.rounds):
        # In turn, and each first in every second round, since the speed of shared machines drifts.
        for is_beside in (False, True) if number % 2 else (True, False):
            if is_beside:
                with consoles(arguments.base_url, arguments.consoles) as events:
                    beside.append(clients.run(questions))
                    had += events.value
            else:
                alone.append(clients.run(questions))
        print(f"round {number + 1}: {alone[-1].tokens_per_second:.0f}, {beside[-1].tokens_per_second:.0f} tokens/s")
    ratios = [one.tokens_per_second / other.tokens_per_second for one, other in zip(beside, alone, strict=True)]
    gaps = [
        percentile([gap for run in runs for stream in run.streams for gap in stream.gaps_ms], 0.99)
        for runs in (alone, beside)
    ]
    print_table(
        f"{arguments.streams} streams with {arguments.consoles} consoles open; target in brackets",
        ("alone, tokens/s", "with consoles, tokens/s", "with / alone", "worst round", "p99 gap, ms", "events"),
        [[
            f"{statistics.median(run.tokens_per_second for run in alone):.0f}",
            f"{statistics.median(run.tokens_per_second for run in beside):.0f}",
            f"{statistics.median(ratios):.3f} ({SPEED_TARGET})", f"{min(ratios):.3f}",
            f"{gaps[0]:.0f} / {gaps[1]:.0f}", str(had),
        ]],
    )  # fmt: skip
    size, requests = transferred_bytes(arguments.base_url, "/console/chat")
    print_table(
        "The first page in Chromium, nothing cached; target in brackets",
        ("page", "transferred", "requests"),
        [["/console/chat", f"{size / 1000:.1f} kB ({BYTES_TARGET / 1000:.0f} kB)", str(requests)]],
    )


if __name__ == "__main__":
    main()
