"""Many requests at once: their work in Python leaves the interpreter's lock to the engine's thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from core import events
from tasks.chat.generation import PREPARED_AT_ONCE
from tests.integration.tasks.generating import World
from tests.support import wait_until

REQUESTS = 3 * PREPARED_AT_ONCE


class CountedPrompts:
    """Builds prompts once `proceed` is set, and counts how many are built at the same time."""

    def __init__(self, prompts: Any) -> None:
        self._prompts = prompts
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0
        self.proceed = threading.Event()

    def begin(self, *arguments: Any) -> Any:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        assert self.proceed.wait(20)
        return self._prompts.begin(*arguments)

    def prepare(self, *arguments: Any) -> Any:
        with self._lock:
            self._now -= 1
        return self._prompts.prepare(*arguments)


def test_few_prompts_are_prepared_at_the_same_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = CountedPrompts(world.service._prompts)
    monkeypatch.setattr(world.service, "_prompts", prompts)
    jobs = [world.submit(max_tokens=2) for _ in range(REQUESTS)]
    with ThreadPoolExecutor(REQUESTS) as threads:
        answers = [threads.submit(world.generate, job) for job in jobs]
        wait_until(lambda: len(world.service._runner._running) == REQUESTS)
        prompts.proceed.set()
        ends: Sequence[events.AnyEvent] = [answer.result(60)[-1] for answer in answers]
    assert all(isinstance(end, events.Finished) for end in ends)
    assert prompts.most == PREPARED_AT_ONCE
