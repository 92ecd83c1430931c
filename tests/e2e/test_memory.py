"""The memory of the workers does not grow with the number of files. Run by `make soak`."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from tests.e2e.memory import Sizes, at_rest, tree_bytes
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

#: The memory is read for the first time after a tenth of these files.
FILES = int(os.environ.get("SOAK_FILES", "5000"))
MOST_GROWTH = 1.05
SECONDS_PER_FILE = 2.0
WORKERS = ("ingest", "index")


def write(inbox: Path, numbers: range) -> None:
    """Write notes of one to twelve paragraphs, no two of them alike."""
    for number in numbers:
        folder = inbox / str(number // 250)
        folder.mkdir(exist_ok=True)
        text = (
            f"Note {number}, paragraph {part}: the ferry {number * part} leaves at dawn. " * 6 for part in range(12)
        )
        (folder / f"{number}.txt").write_text("\n\n".join(list(text)[: 1 + number % 12]))


def workers_at_rest(stack: Stack) -> Sizes:
    """Return the workers' memory in bytes, once that of the last batch has been returned."""
    return at_rest(lambda: {worker: tree_bytes(stack.pid_of(worker)) for worker in WORKERS})


def wait_for(stack: Stack, count: int) -> None:
    def is_done() -> bool:
        found = httpx.get(f"{stack.base_url}/v1/rag/collections/default", timeout=30).json()
        coverage = found.get("coverage", {})
        return coverage.get("indexed") == count and coverage["pending"] == 0

    wait_until(is_done, 60 + count * SECONDS_PER_FILE)


@pytest.mark.timeout(int(120 + 2 * FILES * SECONDS_PER_FILE))
def test_workers_hold_no_more_memory_after_all_files_than_after_a_tenth(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        write(stack.inbox, range(FILES // 10))
        wait_for(stack, FILES // 10)
        before = workers_at_rest(stack)
        write(stack.inbox, range(FILES // 10, FILES))
        wait_for(stack, FILES)
        after = workers_at_rest(stack)
    for worker in WORKERS:
        print(
            f"{worker}: {before[worker] / 2**20:.0f} MiB after {FILES // 10}, {after[worker] / 2**20:.0f} after {FILES}"
        )
    assert all(after[worker] <= before[worker] * MOST_GROWTH for worker in WORKERS), (before, after)
