"""Long runs for `make soak`: memory over thousands of requests, and random kills for minutes."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.chatter import Chatter, kill, searchable
from tests.e2e.documents import documents
from tests.support import Stack, anonymous_bytes, wait_until

pytestmark = [pytest.mark.soak, pytest.mark.e2e, pytest.mark.timeout(3600)]

REQUESTS, WARM_UP_REQUESTS, AT_ONCE = 2000, 200, 8
MOST_GROWTH = 1.05
KILLS_SECONDS = 240
CHATTERS, FILES = 6, 40
KILLED = ("ingest", "index", "inference", "maintenance", "watcher", "redis")


def memory_bytes(stack: Stack) -> int:
    """Return the inference worker's memory without the model's file, whose share depends on other processes."""
    return anonymous_bytes(stack.pid_of("inference"))


def ask(http: httpx.Client, number: int) -> None:
    """Send a short unique request: streamed or not, with varying samplers and grammars."""
    request = {
        "messages": [{"role": "user", "content": f"{number}. Say something about the number {number * 7919}. " * 2}],
        "max_tokens": 4 + number % 5,
        "stream": number % 2 == 0,
        "temperature": number % 3 / 2,
        "frequency_penalty": 0.5 * (number % 4 == 0),
        "logprobs": number % 5 == 0,
    }
    if number % 7 == 0:
        schema = {"type": "integer", "minimum": number, "maximum": number + 9}
        request["response_format"] = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    answer = http.post("/v1/chat/completions", json=request)
    assert answer.status_code == 200, answer.text


def test_memory_does_not_grow_over_thousands_of_requests(tmp_path: Path) -> None:
    with (
        Stack(tmp_path) as stack,
        httpx.Client(base_url=stack.base_url, timeout=120) as http,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        pid = stack.pid_of("inference")
        list(pool.map(lambda number: ask(http, number), range(WARM_UP_REQUESTS)))
        before = memory_bytes(stack)
        print(f"after {WARM_UP_REQUESTS} requests: {before / 2**20:.0f} MiB")
        for begin in range(WARM_UP_REQUESTS, REQUESTS, WARM_UP_REQUESTS):
            list(pool.map(lambda number: ask(http, number), range(begin, begin + WARM_UP_REQUESTS)))
            print(f"after {begin + WARM_UP_REQUESTS} requests: {memory_bytes(stack) / 2**20:.0f} MiB")
        assert stack.pid_of("inference") == pid, "it was restarted in between"
        assert memory_bytes(stack) <= MOST_GROWTH * before


def test_kills_at_random_lose_nothing(tmp_path: Path) -> None:
    """Check that random kills during chats and ingestion cut no chat, and that each file is found exactly once."""
    dice = random.Random(1)
    with Stack(tmp_path) as stack, httpx.Client(base_url=stack.base_url, timeout=30) as http:
        chatters = [Chatter(stack.base_url) for _ in range(CHATTERS)]
        for chatter in chatters:
            chatter.start()
        deadline, files = time.monotonic() + KILLS_SECONDS, 0
        while time.monotonic() < deadline:
            if files < FILES:
                text = f"This file speaks of marker{files:04d} and of nothing else at all.\n"
                (stack.inbox / f"file{files:04d}.txt").write_text(text)
                files += 1
            endings = sum(len(chatter.endings) for chatter in chatters)
            kill(stack, dice.choice(KILLED))
            # The next kill waits until some more chats were answered, so that it interrupts work that had continued.
            seen = endings + dice.randrange(6)
            wait_until(lambda seen=seen: sum(len(one.endings) for one in chatters) > seen, 120)
        for chatter in chatters:
            chatter.stopping.set()
        for chatter in chatters:
            chatter.join(timeout=120)
        wait_until(stack.is_ready, 120)
        wait_until(lambda: [found["status"] for found in documents(http)] == ["completed"] * files, 240)
        assert [searchable(http, number) for number in range(files)] == [1] * files
        endings_of_all = [ending for chatter in chatters for ending in chatter.endings]
        print({ending: endings_of_all.count(ending) for ending in set(endings_of_all)})
        assert not {"silent [DONE]", "cut"} & set(endings_of_all)
        assert endings_of_all.count("whole") > len(endings_of_all) / 2
