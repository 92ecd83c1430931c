"""The watchdog: an engine whose decode hangs ends its process, and a slow or stopped one does not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from core.messages import SamplingParams
from inference.engine.backend import BatchEntry, DecodeStatus
from inference.engine.engine import Engine
from inference.engine.sequence import SequenceRequest
from inference.engine.stats import Counters, EngineStats
from inference.engine.watchdog import HANG_STATUS, SLOWER, Watchdog
from tests.fakes.fake_backend import FakeBackend
from tests.support import clean_environment, wait_until


class HangingBackend(FakeBackend):
    """A backend whose `decode` waits while `hangs` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.resume = threading.Event()
        self.hangs = threading.Event()

    def decode(self, batch: Sequence[BatchEntry]) -> DecodeStatus:
        if self.hangs.is_set():
            self.resume.wait(60)
        return super().decode(batch)


@dataclass
class Still:
    """An engine that makes no progress."""

    counters: Counters
    last_turn_at: float = 1.0

    def stats(self) -> EngineStats:
        return self.counters.snapshot(slots=1, running=1, waiting=0, preemptions=0, kv_used=0, kv_total=1, parked=0)


def submit(engine: Engine, name: str) -> None:
    sampling = SamplingParams(temperature=0, ignore_eos=True)
    engine.submit(SequenceRequest(sequence_id=name, prompt_token_ids=[1, 2, 3], sampling=sampling, max_tokens=16))


@pytest.fixture
def backend() -> HangingBackend:
    return HangingBackend()


@pytest.fixture
def engine(backend: HangingBackend) -> Iterator[Engine]:
    engine = Engine(backend, slots=2, default_max_tokens=16, sink=lambda _: None)
    engine.start()
    yield engine
    backend.resume.set()
    engine.close()


def test_a_decode_that_hangs_is_noticed(backend: HangingBackend, engine: Engine) -> None:
    noticed: list[float] = []
    Watchdog(engine, noticed.append, min_silence_seconds=2, check_seconds=0.05).start()
    submit(engine, "one")
    wait_until(lambda: engine.stats().finished == 1)
    assert not noticed, "it was idle or working"
    backend.hangs.set()
    submit(engine, "two")
    wait_until(lambda: noticed, 30)
    assert noticed[0] >= 2


def test_an_engine_whose_steps_are_slow_may_take_longer() -> None:
    counters, silences = Counters(slowest_step_seconds=0.05), list[float]()
    Watchdog(Still(counters), silences.append, min_silence_seconds=0.01, check_seconds=0.01).start()
    wait_until(lambda: silences, 30)
    assert silences[0] >= SLOWER * counters.slowest_step_seconds


def test_the_process_ends() -> None:
    code = (
        "import logging, threading; logging.basicConfig()\n"
        "from inference.engine.watchdog import Watchdog\n"
        "from inference.engine.stats import Counters\n"
        "from tests.unit.inference.test_watchdog import Still\n"
        "Watchdog(Still(Counters()), min_silence_seconds=0.1, check_seconds=0.01).start()\n"
        "threading.Event().wait(60)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, text=True, timeout=50
    )
    assert done.returncode == HANG_STATUS
    assert "finished no step" in done.stderr
