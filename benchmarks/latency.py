"""What the pipeline adds to the engine, over HTTP, Celery and Redis.

    python -m benchmarks.latency [--base-url URL] [--rounds N]

Against a running stack (the one of this DATA_DIR). The engine stamps each piece of text with the time at which it was
made;
the stamp is read from the job's events, the arrival is measured at the client's socket: both on one clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass

import httpx
import redis

from benchmarks.report import percentile, print_table
from core import events
from core.settings import get_settings
from tasks.jobs.records import connect

TARGET_MS = 30.0
PROMPT = "Tell me about the sea."


@dataclass(frozen=True)
class Spy:
    """Hears the events of all jobs."""

    pubsub: redis.client.PubSub

    @classmethod
    def open(cls) -> Spy:
        pubsub = connect(get_settings()).pubsub(ignore_subscribe_messages=True)
        pubsub.psubscribe("job:*:live")
        pubsub.get_message(timeout=1)
        return cls(pubsub)

    def drain(self) -> list[events.AnyEvent]:
        """The events of the one job that ran since the last call, up to its terminal one."""
        found: list[events.AnyEvent] = []
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            message = self.pubsub.get_message(timeout=1)
            if not message:
                continue
            event = events.decode(events.split_frame(message["data"])[1])
            found.append(event)
            if events.is_terminal(event):
                return found
        raise TimeoutError("the job's events did not end")


def body(stream: bool, round_number: int) -> dict[str, object]:
    """A request whose prompt no earlier round has put into the prompt cache."""
    content = f"{round_number}. {PROMPT}"
    return {
        "model": "local",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 32,
        "temperature": 0,
        "stream": stream,
    }


def streamed(client: httpx.Client, spy: Spy, round_number: int) -> float:
    """Milliseconds between the engine's first text and its arrival at the client."""
    arrived = None
    with client.stream("POST", "/v1/chat/completions", json=body(True, round_number)) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                if arrived is None and choices and choices[0]["delta"].get("content"):
                    arrived = time.time()
    first = next(event for event in spy.drain() if isinstance(event, events.TextDelta))
    if arrived is None:
        raise RuntimeError("no text was streamed")
    return (arrived - first.created) * 1000


def whole(client: httpx.Client, spy: Spy, round_number: int) -> float:
    """Milliseconds that a non-streamed answer takes beyond the engine's own time."""
    began = time.time()
    client.post("/v1/chat/completions", json=body(False, round_number)).raise_for_status()
    took = (time.time() - began) * 1000
    finished = spy.drain()[-1]
    if not isinstance(finished, events.Finished):
        raise RuntimeError(f"the job ended with {finished}")
    return took - finished.timings.prompt_ms - finished.timings.generation_ms


def main() -> None:
    """Runs both measurements in turn and prints them."""
    parser = argparse.ArgumentParser(description=__doc__)
    settings = get_settings()
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    spy = Spy.open()
    delays: list[float] = []
    overheads: list[float] = []
    with httpx.Client(base_url=arguments.base_url, timeout=60) as client:
        streamed(client, spy, 0)
        whole(client, spy, 0)
        for number in range(1, arguments.rounds + 1):
            delays.append(streamed(client, spy, number))
            overheads.append(whole(client, spy, number))
    rows = [
        (name, f"{statistics.median(values):.1f} ms", f"{percentile(values, 0.95):.1f} ms", f"{TARGET_MS:.0f} ms",
         f"{statistics.median(values) / TARGET_MS:.2f}")
        for name, values in (("first token: engine to client", delays), ("whole answer: beyond the engine", overheads))
    ]  # fmt: skip
    print_table("What the pipeline adds to the engine", ("measure", "p50", "p95", "target p50", "ratio"), rows)


if __name__ == "__main__":
    main()
