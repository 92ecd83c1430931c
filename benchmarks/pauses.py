"""How long others pause while a hostile request is served: a stream, searches and `/health`.

    FUNCTIONS_DIR=benchmarks/functions llm-api up
    python -m benchmarks.pauses [--base-url URL] [--only WORDS]...

Runs against a running stack that has no other work. All the time, one client streams chats, one searches, and one asks
for `/health`, several times a second. Meanwhile each hostile input is sent. The table has the longest pause of each
client until a second after the last hostile request was answered: the largest gap between two portions of a stream, and
the longest search and `/health`. With `/v1/functions` lacking `hang`, that input is left out.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.report import print_table
from core.settings import get_settings

TARGET_SECONDS = 0.3
#: What the clients that measure do between two requests.
PAUSE_SECONDS = 0.1
#: How long a hostile input that has no answer is waited for, and how long the clients are watched afterwards.
MAX_SECONDS, AFTER_SECONDS = 60.0, 1.0
AT_ONCE, QUERY_CHARACTERS, PARTS = 16, 65_536, 200_000
CHAT, EMBED, SEARCH, UPLOAD = "/v1/chat/completions", "/v1/embeddings", "/v1/rag/search", "/v1/rag/documents/upload"
JSON_TYPE = {"content-type": "application/json"}


@dataclass(frozen=True)
class Hostile:
    """A hostile input: the requests that are sent at once, each with its path, headers and body."""

    name: str
    requests: Sequence[tuple[str, dict[str, str], bytes]]


@dataclass
class Watch:
    """A client that measures all the time. Its pauses are intervals, by the clock of `time.monotonic`."""

    name: str
    run: Callable[[Watch, httpx.Client], None]
    stopping: threading.Event
    pauses: list[tuple[float, float]] = field(default_factory=list)
    #: When the pause began that is going on.
    since: float | None = None

    def longest(self, begin: float, end: float) -> float:
        """Return the longest pause that overlaps this time."""
        going_on = [] if self.since is None else [(self.since, time.monotonic())]
        found = [to - since for since, to in [*self.pauses, *going_on] if since < end and to > begin]
        return max(found, default=0.0)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Record how long the body of the `with` statement takes."""
        self.since = time.monotonic()
        yield
        self.pauses.append((self.since, time.monotonic()))
        self.since = None


def watch_stream(watch: Watch, client: httpx.Client) -> None:
    """Stream one chat after the other, and record the gaps between two portions of text."""
    number = 0
    while not watch.stopping.is_set():
        number += 1
        content = f"{number}. Tell me about the sea and the ships on it."
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 1000, "ignore_eos": True}
        with client.stream("POST", CHAT, json={**body, "stream": True}) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if watch.since is not None and line.startswith("data: "):
                    watch.pauses.append((watch.since, time.monotonic()))
                if '"content":"' in line:
                    watch.since = time.monotonic()
                if watch.stopping.is_set():
                    return
        watch.since = None


def watch_search(watch: Watch, client: httpx.Client) -> None:
    """Search again and again."""
    while not watch.stopping.wait(PAUSE_SECONDS):
        with watch.measured():
            client.post(SEARCH, json={"query": "Where is the spare key of the boathouse?"}).raise_for_status()


def watch_health(watch: Watch, client: httpx.Client) -> None:
    """Ask for `/health` again and again."""
    while not watch.stopping.wait(PAUSE_SECONDS):
        with watch.measured():
            client.get("/health").raise_for_status()


# The hostile inputs


def as_json(path: str, body: Any, count: int = 1) -> list[tuple[str, dict[str, str], bytes]]:
    return [(path, JSON_TYPE, json.dumps(body).encode())] * count


def plain_chats(count: int, max_tokens: int) -> list[tuple[str, dict[str, str], bytes]]:
    """Return chats that are not hostile, to see what so many chats cost."""
    messages = [{"role": "user", "content": "Answer."}]
    return as_json(CHAT, {"messages": messages, "max_tokens": max_tokens}, count)


def with_schema(schema: dict[str, Any], count: int = 1) -> list[tuple[str, dict[str, str], bytes]]:
    """Return chats whose answers must follow a schema."""
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    messages = [{"role": "user", "content": "Answer."}]
    return as_json(CHAT, {"messages": messages, "max_tokens": 64, "response_format": form}, count)


def text_of(kind: str, length: int) -> str:
    """Return a text without spaces, one of words, or one in a script without spaces between words."""
    dice = random.Random(1)
    if kind == "letters":
        return "a" * length
    if kind == "words":
        return " ".join(f"word{dice.randrange(10**6)}" for _ in range(length // 8))[:length]
    first, count = (0x4E00, 20_000) if kind == "Han" else (0x0E01, 46)
    return "".join(chr(first + dice.randrange(count)) for _ in range(length))


def upload_of_parts(count: int) -> list[tuple[str, dict[str, str], bytes]]:
    """Return an upload of files without names."""
    part = '--B\r\nContent-Disposition: form-data; name=""; filename=""\r\n\r\nx\r\n'
    headers = {"content-type": "multipart/form-data; boundary=B"}
    return [(UPLOAD, headers, f"{part * count}--B--\r\n".encode())]


def inputs(functions: Sequence[str]) -> Iterator[Hostile]:
    """Yield the hostile inputs."""
    numbers: dict[str, Any] = {"type": "array", "items": {"type": "integer"}}
    yield Hostile("schema, minItems 5,000", with_schema({**numbers, "minItems": 5000}))
    yield Hostile("4 schemas, minLength 5,000", with_schema({"type": "string", "minLength": 5000}, 4))
    yield Hostile("4 chats without a schema, to compare", plain_chats(4, 64))
    yield Hostile("schema, pattern (a{1,99}){1,99}", with_schema({"type": "string", "pattern": "^(a{1,99}){1,99}$"}))
    names: dict[str, Any] = {f"name{number}": {"type": "string", "maxLength": 99} for number in range(250)}
    yield Hostile(
        "schema of 250 properties", with_schema({"type": "object", "properties": names, "required": [*names]})
    )
    for kind in ("letters", "words", "Han", "Thai"):
        query = {"query": text_of(kind, QUERY_CHARACTERS)}
        yield Hostile(f"{AT_ONCE} searches of 65,536 characters, {kind}", as_json(SEARCH, query, AT_ONCE))
    texts = [text_of("Han", 1000)] * 256
    yield Hostile("256 Han texts to embed", as_json(EMBED, {"input": texts, "model": "any"}))
    parts = [{"type": "text", "text": "a"}] * PARTS
    yield Hostile("a message of 200,000 parts", as_json(CHAT, {"messages": [{"role": "user", "content": parts}]}))
    yield Hostile("200,000 messages", as_json(CHAT, {"messages": [{"role": "user", "content": "a"}] * PARTS}))
    messages = [{"role": "user", "content": "a"}]
    yield Hostile("500,000 wrong stop strings", as_json(CHAT, {"messages": messages, "stop": [1] * 500_000}))
    yield Hostile("16 chats of 4,096 messages", as_json(CHAT, {"messages": messages * 4096}, AT_ONCE))
    # With a wrong length of the vectors, so that nothing is embedded.
    yield Hostile("500,000 token ids", as_json(EMBED, {"input": [[7] * 250] * 2000, "dimensions": 1}))
    yield Hostile("JSON, 100,000 levels deep", [(CHAT, JSON_TYPE, b"[" * 100_000)])
    bomb = gzip.compress(b'{"messages": "' + b"a" * 2**28)
    yield Hostile("JSON, 256 MiB packed by gzip", [(CHAT, {**JSON_TYPE, "content-encoding": "gzip"}, bomb)])
    yield Hostile("1,020 parts without names", upload_of_parts(1020))
    yield Hostile("64 chats without functions, to compare", plain_chats(64, 40))
    for name, description in (("wave", "returns, to compare"), ("hang", "hangs")):
        if name in functions:
            messages = [{"role": "user", "content": "Call the function."}]
            chat = {"messages": messages, "server_tools": [name], "tool_choice": "required", "max_tool_rounds": 1}
            yield Hostile(f"64 chats whose function {description}", as_json(CHAT, {**chat, "max_tokens": 40}, 64))


# Measuring


def send(base_url: str, hostile: Hostile) -> str:
    """Send the requests at once, and return how they were answered.

    They share a client: each new one would read all certificates, which stops the clients that measure in this process.
    """

    def one(request: tuple[str, dict[str, str], bytes]) -> str:
        path, headers, body = request
        try:
            return str(client.post(path, headers=headers, content=body).status_code)
        except httpx.HTTPError as error:
            return type(error).__name__

    limits = httpx.Limits(max_connections=None)
    with (
        httpx.Client(base_url=base_url, timeout=MAX_SECONDS, limits=limits) as client,
        ThreadPoolExecutor(len(hostile.requests) or 1) as pool,
    ):
        answers = Counter(pool.map(one, hostile.requests))
    return ", ".join(status if count == 1 else f"{count} × {status}" for status, count in sorted(answers.items()))


def row(name: str, answers: str, seconds: float, longest: Sequence[float]) -> tuple[str, ...]:
    """Return a row of the table."""
    pauses = (f"{pause * 1000:.0f} ms" for pause in longest)
    return name, answers, f"{seconds:.1f} s", *pauses, f"{max(longest) / TARGET_SECONDS:.2f}"


def measure(base_url: str, watches: Sequence[Watch], hostile: Hostile) -> tuple[str, ...]:
    """Send a hostile input, and return its row."""
    begin = time.monotonic()
    answers = send(base_url, hostile) if hostile.requests else ""
    seconds = time.monotonic() - begin
    time.sleep(AFTER_SECONDS if hostile.requests else 10 * AFTER_SECONDS)
    end = time.monotonic()
    return row(hostile.name, answers, seconds, [watch.longest(begin, end) for watch in watches])


def main() -> None:
    """Run the benchmark and print its table."""
    settings = get_settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument(
        "--only", action="append", metavar="WORDS", help="measure only the inputs whose name has these or other WORDS"
    )
    arguments = parser.parse_args()
    stopping = threading.Event()
    kinds = (("stream", watch_stream), ("search", watch_search), ("/health", watch_health))
    watches = [Watch(name, run, stopping) for name, run in kinds]
    with httpx.Client(base_url=arguments.base_url, timeout=MAX_SECONDS) as client, ThreadPoolExecutor() as pool:
        text = {"texts": ["The spare key of the boathouse hangs behind the portrait of the founder."]}
        client.post("/v1/rag/documents", json=text).raise_for_status()
        functions = [one["function"]["name"] for one in client.get("/v1/functions").json()["data"]]
        running = [pool.submit(watch.run, watch, client) for watch in watches]
        try:
            wanted = arguments.only or [""]
            chosen = [one for one in inputs(functions) if any(words in one.name for words in wanted)]
            rows = [measure(arguments.base_url, watches, hostile) for hostile in (Hostile("nothing", []), *chosen)]
        finally:
            stopping.set()
        for one in running:
            one.result()
    columns = ("hostile input", "answers", "took", *(f"{watch.name} paused" for watch in watches), "of 300 ms")
    print_table("The longest pause of others while a hostile input is served", columns, rows)


if __name__ == "__main__":
    main()
