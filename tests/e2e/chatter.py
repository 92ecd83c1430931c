"""What the tests that pull plugs share: somebody who chats all the while, kills, and what is searchable after them."""

from __future__ import annotations

import json
import threading
import time

import httpx

from tests.support import Stack, wait_until


class Chatter(threading.Thread):
    """Streams one chat after the other, and keeps how each ended and its longest silence."""

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
        heard = time.monotonic()
        lines: list[str] = []
        try:
            with httpx.stream("POST", f"{self.base_url}/v1/chat/completions", json=request, timeout=30) as response:
                for line in response.iter_lines():
                    self.longest_silence_seconds = max(self.longest_silence_seconds, time.monotonic() - heard)
                    heard = time.monotonic()
                    if line.startswith("data: "):
                        lines.append(line[6:])
                if response.status_code != 200:
                    return f"status {response.status_code}"
        except httpx.TransportError as error:
            self.stopping.wait(0.2)
            return f"connection: {type(error).__name__}"
        return classify(lines)


def classify(frames: list[str]) -> str:
    """How a stream ended: whole, with an error frame, or silently cut."""
    if frames and frames[-1] == "[DONE]":
        whole = any(choice.get("finish_reason") for frame in frames[:-1] for choice in json.loads(frame)["choices"])
        return "whole" if whole else "silent [DONE]"
    if frames and "error" in json.loads(frames[-1]):
        return "error"
    return "cut"


def kill(stack: Stack, name: str) -> None:
    """kill -9 of one supervised process; returns once another one has taken its place."""
    before = stack.kill(name)
    wait_until(lambda: stack.pid_of(name) not in (0, before), 60)


def searchable(http: httpx.Client, number: int) -> int:
    """How many chunks of file `number` a search for its own word finds."""
    hits = http.post("/v1/rag/search", json={"query": f"marker{number:04d}", "top_k": 20}).json()["data"]
    return sum(hit["filename"] == f"file{number:04d}.txt" for hit in hits)
