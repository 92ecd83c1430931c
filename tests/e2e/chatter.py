"""Helpers of the tests that kill processes: a client that chats all the time, kills, and searches for files."""

from __future__ import annotations

import json
import threading
import time

import httpx

from tests.support import Stack, wait_until


class Chatter(threading.Thread):
    """Streams one chat after the other. Records how each ended, and the longest silence."""

    def __init__(self, base_url: str) -> None:
        super().__init__(daemon=True)
        self.base_url = base_url
        self.stopping = threading.Event()
        self.endings: list[str] = []
        self.longest_silence_seconds = 0.0

    def run(self) -> None:
        while not self.stopping.is_set():
            self.endings.append(self._chat())

    def _chat(self) -> str:
        request = {
            "messages": [{"role": "user", "content": "Tell a long story."}],
            "max_tokens": 400,
            "stream": True,
        }
        last_line_at = time.monotonic()
        lines: list[str] = []
        try:
            with httpx.stream("POST", f"{self.base_url}/v1/chat/completions", json=request, timeout=30) as response:
                for line in response.iter_lines():
                    silence_seconds = time.monotonic() - last_line_at
                    self.longest_silence_seconds = max(self.longest_silence_seconds, silence_seconds)
                    last_line_at = time.monotonic()
                    if line.startswith("data: "):
                        lines.append(line[6:])
                if response.status_code != 200:
                    return f"status {response.status_code}"
        except httpx.TransportError as error:
            self.stopping.wait(0.2)
            return f"connection: {type(error).__name__}"
        return classify(lines)


def classify(frames: list[str]) -> str:
    """Return how a stream ended: whole, with an error frame, or cut without a word."""
    if frames and frames[-1] == "[DONE]":
        whole = any(choice.get("finish_reason") for frame in frames[:-1] for choice in json.loads(frame)["choices"])
        return "whole" if whole else "silent [DONE]"
    if frames and "error" in json.loads(frames[-1]):
        return "error"
    return "cut"


def kill(stack: Stack, name: str) -> None:
    """Send KILL to a supervised process, and return once another one has replaced it."""
    before = stack.kill(name)
    wait_until(lambda: stack.pid_of(name) not in (0, before), 60)


def searchable(http: httpx.Client, number: int) -> int:
    """Return how many chunks of file `number` a search for its unique word finds."""
    hits = http.post("/v1/rag/search", json={"query": f"marker{number:04d}", "top_k": 20}).json()["data"]
    return sum(hit["filename"] == f"file{number:04d}.txt" for hit in hits)
