"""The cost of the pipeline for embeddings: `/v1/embeddings` of a running stack against `SentenceTransformer.encode`.

    python -m benchmarks.embeddings [--base-url URL] [--rounds N] [--bulk N] [--bulk-rounds N]

Both sides use the model, data type and threads of the settings. They take turns within each round, so that a machine
that is slow for a while is slow for both. Ratios are those of the medians over the rounds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from benchmarks.report import percentile, print_table
from core.settings import Settings, get_settings
from ingest.embedding.embedder import load_model
from ingest.embedding.model_files import find_embedding_model

CLIENTS = 32
BULK_TEXTS_PER_REQUEST = 2048
CONCURRENT_TARGET, LONE_TARGET_MS, BULK_TARGET = 0.5, 15.0, 0.95
WORDS = ("router", "restart", "invoice", "warranty", "battery", "shipping", "password", "window", "garden", "weather")

Measure = Callable[[], None]


class Stack:
    """Clients of a running stack, each with its own open connection.

    They use `http.client`, since they share the machine with the stack and their own work should not be measured.
    """

    def __init__(self, base_url: str) -> None:
        address = urlsplit(base_url)
        self._clients = [
            http.client.HTTPConnection(address.hostname or "", address.port, timeout=300) for _ in range(CLIENTS)
        ]
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._ready = threading.Barrier(CLIENTS)

    def embed(self, texts: str | list[str], client: int = 0) -> None:
        """Send one request as OpenAI's client does."""
        body = json.dumps({"model": "local", "input": texts, "encoding_format": "base64"})
        connection = self._clients[client]
        if isinstance(texts, list):
            connection.close()  # the server may have closed it during the long turn of the bare model
        connection.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        expected = 1 if isinstance(texts, str) else len(texts)
        if len(answer.get("data", ())) != expected:
            raise RuntimeError(f"{expected} vectors were expected, not {answer}")

    def embed_at_once(self, texts: Sequence[str]) -> None:
        """Send one text from each client, all at once."""

        def one(client: int) -> None:
            self._ready.wait(30)
            self.embed(texts[client], client)

        list(self._pool.map(one, range(CLIENTS)))


def texts_of(number: int, words: tuple[int, int], seed: int) -> list[str]:
    """Return texts that no cache has, each with a number of words in the given range."""
    source = random.Random(seed)
    return [f"{seed} " + " ".join(source.choices(WORDS, k=source.randint(*words))) for _ in range(number)]


def bare_encode(settings: Settings) -> Callable[[Any], None]:
    """Return a function that embeds with sentence-transformers alone, in its own batches."""
    model = load_model(find_embedding_model(settings), settings)

    def encode(texts: Any) -> None:
        model.encode(texts, convert_to_tensor=True, show_progress_bar=False, normalize_embeddings=True)

    return encode


def seconds(measured: Measure) -> float:
    """Return the time that a call takes."""
    began = time.perf_counter()
    measured()
    return time.perf_counter() - began


def interleaved(rounds: int, make: Callable[[int], tuple[Measure, Measure]]) -> tuple[list[float], list[float]]:
    """Return the seconds of both sides. They swap turns in each round, and the first round is not counted."""
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        pair = make(number)
        for side in (0, 1) if number % 2 else (1, 0):
            once = seconds(pair[side])
            if number:
                took[side].append(once)
    return took


def rows(stack: Stack, bare: Callable[[Any], None], options: argparse.Namespace) -> list[tuple[str, ...]]:
    """Run the three measurements and return their rows."""

    def at_once(number: int) -> tuple[Measure, Measure]:
        texts = texts_of(CLIENTS, (5, 12), number)
        return (lambda: bare(texts)), (lambda: stack.embed_at_once(texts))

    def alone(number: int) -> tuple[Measure, Measure]:
        text = texts_of(1, (5, 12), 1_000 + number)[0]
        return (lambda: bare(text)), (lambda: stack.embed(text))

    def bulk(number: int) -> tuple[Measure, Measure]:
        texts = texts_of(options.bulk, (10, 60), 10_000 + number)
        return (lambda: bare(texts)), (lambda: stack.embed(texts))

    found = [interleaved(options.rounds, at_once), interleaved(options.rounds, alone)]
    if options.bulk_rounds:
        found.append(interleaved(options.bulk_rounds, bulk))
    names = (f"{CLIENTS} clients at once, one short text each", "a lone request", f"{options.bulk} texts at once")
    return [row(name, *sides) for name, sides in zip(names, found, strict=False)]


def row(name: str, bare: list[float], stack: list[float]) -> tuple[str, ...]:
    """Return a row of the table: medians, and the value that is compared with the target."""
    one, other = statistics.median(bare) * 1000, statistics.median(stack) * 1000
    if name == "a lone request":
        result, target = f"+{other - one:.1f} ms", f"at most +{LONE_TARGET_MS:.0f} ms"
    else:
        result = f"{one / other:.2f}"
        target = f"{CONCURRENT_TARGET if 'clients' in name else BULK_TARGET}"
    return name, f"{one:.1f} ms", f"{other:.1f} ms", f"{percentile(stack, 0.95) * 1000:.1f} ms", result, target


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    settings = get_settings()
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--bulk", type=int, default=BULK_TEXTS_PER_REQUEST)
    parser.add_argument("--bulk-rounds", type=int, default=5)
    options = parser.parse_args()
    table = rows(Stack(options.base_url), bare_encode(settings), options)
    columns = ("measure", "bare p50", "stack p50", "stack p95", "stack to bare", "target")
    print_table("Embeddings over HTTP against a bare encode", columns, table)


if __name__ == "__main__":
    main()
