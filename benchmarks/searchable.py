"""How soon a dropped file is found: from its last write to the first search that finds it, on an idle stack.

    python -m benchmarks.searchable [--base-url URL] [--rounds N]

Against a running stack whose first watched folder is that of `WATCH_DIRS`.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import time
from pathlib import Path

import httpx

from benchmarks.report import percentile, print_table
from core.settings import get_settings

TARGET_SECONDS = 3.0
PAGE = "The warranty of the {name} lasts four years and covers its motor. " * 40


def seconds_until_found(client: httpx.Client, folder: Path) -> float:
    """Drops a one-page file with a word of its own, and searches for it until it is found."""
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


def main() -> None:
    """Measures and prints."""
    settings = get_settings()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    with httpx.Client(base_url=arguments.base_url, timeout=30) as client:
        folder = settings.watch_roots[0].path
        took = [seconds_until_found(client, folder) for _ in range(arguments.rounds)]
    median = statistics.median(took)
    row = (f"{median:.2f} s", f"{percentile(took, 0.95):.2f} s", f"{TARGET_SECONDS:.0f} s",
           f"{median / TARGET_SECONDS:.2f}", f"{settings.watch_stable_seconds:g} s")  # fmt: skip
    print_table(
        f"A dropped one-page file is searchable ({arguments.rounds} files)",
        ("p50", "p95", "target p50", "ratio", "of which WATCH_STABLE_SECONDS"),
        [row],
    )


if __name__ == "__main__":
    main()
