"""The latency that HTTP, Celery and Redis add to the engine.

    python -m benchmarks.latency [--base-url URL] [--rounds N]

Runs against a running stack (the one of this DATA_DIR). The engine stamps each piece of text with the time at which it
was made. The stamp is read from the job's events and the arrival is measured at the client, both with the same clock.
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
from tasks.jobs.redis_client import connect

TARGET_MS = 30.0
PROMPT = "Tell me about the sea."


@dataclass(frozen=True)
class JobEvents:
    """Receives the events of all jobs."""

    pubsub: redis.client.PubSub

    @classmethod
    def open(cls) -> JobEvents:
        pubsub = connect(get_settings()).pubsub(ignore_subscribe_messages=True)
        pubsub.psubscribe("job:*:live")
        pubsub.get_message(timeout=1)
        return cls(pubsub)

    def drain(self) -> list[events.AnyEvent]:
        """Return the events, up to the terminal one, of the job that has run since the last call."""
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
    """Return a request whose prompt is not in the prompt cache from an earlier round."""
    content = f"{round_number}. {PROMPT}"
    return {
        "model": "local",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 32,
        "temperature": 0,
        "stream": stream,
    }


def first_text_delay_ms(client: httpx.Client, job_events: JobEvents, round_number: int) -> float:
    """Return the milliseconds from the engine's first text to its arrival at the client."""
    arrived = None
    with client.stream("POST", "/v1/chat/completions", json=body(True, round_number)) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                if arrived is None and choices and choices[0]["delta"].get("content"):
                    arrived = time.time()
    first = next(event for event in job_events.drain() if isinstance(event, events.TextDelta))
    if arrived is None:
        raise RuntimeError("no text was streamed")
    return (arrived - first.created) * 1000


def answer_overhead_ms(client: httpx.Client, job_events: JobEvents, round_number: int) -> float:
    """Return the milliseconds that a non-streamed answer takes beyond the engine's own time."""
    began = time.time()
    client.post("/v1/chat/completions", json=body(False, round_number)).raise_for_status()
    took = (time.time() - began) * 1000
    finished = job_events.drain()[-1]
    if not isinstance(finished, events.Finished):
        raise RuntimeError(f"the job ended with {finished}")
    return took - finished.timings.prompt_ms - finished.timings.generation_ms


def main() -> None:
    """Run both measurements in turn and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    settings = get_settings()
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    job_events = JobEvents.open()
    delays: list[float] = []
    overheads: list[float] = []
    with httpx.Client(base_url=arguments.base_url, timeout=60) as client:
        first_text_delay_ms(client, job_events, 0)
        answer_overhead_ms(client, job_events, 0)
        for number in range(1, arguments.rounds + 1):
            delays.append(first_text_delay_ms(client, job_events, number))
            overheads.append(answer_overhead_ms(client, job_events, number))
    rows = [
        (name, f"{statistics.median(values):.1f} ms", f"{percentile(values, 0.95):.1f} ms", f"{TARGET_MS:.0f} ms",
         f"{statistics.median(values) / TARGET_MS:.2f}")
        for name, values in (("first token: engine to client", delays), ("whole answer: beyond the engine", overheads))
    ]  # fmt: skip
    print_table("What the pipeline adds to the engine", ("measure", "p50", "p95", "target p50", "ratio"), rows)


if __name__ == "__main__":
    main()
