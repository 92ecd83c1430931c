"""The decisions of the indexing schedule, with a simulated clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.documents.indexing_schedule import (
    BUSY_SECONDS,
    FAULT_PAUSE_SECONDS,
    IDLE_SECONDS,
    INTERRUPT_LIMIT,
    INTERRUPT_SECONDS,
    POLL_LIMIT,
    SHORT_CHUNKS,
    IndexingSchedule,
    Poll,
    RunState,
    Step,
    Wait,
)

#: The chunks of a step, and the seconds that a step and a poll take in the simulation.
STEP_CHUNKS, STEP_SECONDS, POLL_SECONDS = 16, 0.1, 0.01
SHORT, LONG = RunState(10), RunState(1000)


@dataclass
class World:
    """A simulated indexer. A document is a number of chunks, and each document is a run of its own."""

    schedule: IndexingSchedule = field(default_factory=IndexingSchedule)
    now: float = 0.0
    #: The documents that arrive: when, and their number of chunks.
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    waiting: list[tuple[int, int]] = field(default_factory=list)
    runs: dict[int, RunState] = field(default_factory=dict)
    finished: dict[int, float] = field(default_factory=dict)
    actions: list[Poll | Step | Wait] = field(default_factory=list)
    come: int = 0

    def act(self) -> None:
        while self.come < len(self.arrivals) and self.arrivals[self.come][0] <= self.now:
            self.waiting.append((self.come, self.arrivals[self.come][1]))
            self.come += 1
        action = self.schedule.next_action(self.now, list(self.runs.values()))
        self.actions.append(action)
        match action:
            case Wait(seconds=seconds):
                assert seconds > 0
                self.now += seconds
            case Step(run=index):
                self.now += STEP_SECONDS
                self._step(list(self.runs)[index])
            case Poll() as poll:
                self.now += POLL_SECONDS
                self.schedule.polled(self.now, found=self._take(poll))

    def _step(self, name: int) -> None:
        run = self.runs[name]
        run = self.runs[name] = replace(run, done=min(run.chunks, run.done + STEP_CHUNKS))
        if run.remaining == 0:
            del self.runs[name]
            self.finished[name] = self.now

    def _take(self, poll: Poll) -> bool:
        fitting = [one for one in self.waiting if poll.max_chunks is None or one[1] <= poll.max_chunks][: poll.limit]
        self.waiting = [one for one in self.waiting if one not in fitting]
        self.runs |= {name: RunState(chunks) for name, chunks in fitting}
        return bool(fitting)

    def run_until(self, seconds: float) -> None:
        while self.now < seconds:
            self.act()


def test_it_polls_at_once_and_ever_less_often_while_there_is_nothing_to_do() -> None:
    world = World()
    world.run_until(60)
    waits = [round(action.seconds, 6) for action in world.actions if isinstance(action, Wait)]
    assert world.actions[0] == Poll(POLL_LIMIT)
    assert waits[0] == pytest.approx(BUSY_SECONDS) and waits == sorted(waits)
    assert waits[-1] == pytest.approx(IDLE_SECONDS)


def test_after_a_message_it_polls_at_once_and_again_soon() -> None:
    world = World()
    world.run_until(60)
    world.schedule.woken(world.now)
    assert world.schedule.next_action(world.now, []) == Poll(POLL_LIMIT)
    world.schedule.polled(world.now, found=False)
    assert world.schedule.next_action(world.now, []) == Wait(BUSY_SECONDS)


def test_it_polls_again_at_once_after_a_poll_that_found_something() -> None:
    schedule = IndexingSchedule()
    schedule.polled(7.0, found=True)
    assert schedule.next_action(7.0, []) == Poll(POLL_LIMIT)


def test_the_run_with_the_least_left_goes_first() -> None:
    schedule = IndexingSchedule()
    assert schedule.next_action(0.0, [LONG, RunState(30), SHORT]) == Step(2)
    assert schedule.next_action(0.0, [LONG, RunState(30, done=25), SHORT]) == Step(1)
    assert schedule.next_action(0.0, [LONG, RunState(900), RunState(1500, done=1400)]) == Step(2)


def test_chunks_that_are_indexed_in_two_models_count_twice() -> None:
    assert RunState(10, done=10, models=2).remaining == 10
    assert RunState(SHORT_CHUNKS, models=2).is_short


def test_a_long_run_is_interrupted_for_short_documents_only_and_then_continues() -> None:
    schedule = IndexingSchedule()
    assert schedule.next_action(0.0, [LONG]) == Step(0)
    assert schedule.next_action(INTERRUPT_SECONDS - 0.01, [LONG]) == Step(0)
    poll = schedule.next_action(INTERRUPT_SECONDS, [LONG])
    assert poll == Poll(INTERRUPT_LIMIT, SHORT_CHUNKS) and poll.interrupts
    # Even if the short documents take longer than the interval, the long run is not interrupted again before a step.
    assert schedule.next_action(INTERRUPT_SECONDS, [LONG, SHORT]) == Step(1)
    assert schedule.next_action(3.0, [LONG]) == Step(0)
    assert schedule.next_action(3.0 + INTERRUPT_SECONDS, [LONG]) == Poll(INTERRUPT_LIMIT, SHORT_CHUNKS)


def test_after_a_fault_no_documents_are_taken_for_a_while_and_runs_continue() -> None:
    schedule = IndexingSchedule()
    schedule.failed(10.0)
    assert schedule.next_action(10.0, []) == Wait(FAULT_PAUSE_SECONDS)
    schedule.woken(10.1)
    assert schedule.next_action(10.25, []) == Wait(FAULT_PAUSE_SECONDS - 0.25)
    assert [schedule.next_action(now, [LONG]) for now in (10.1, 10.9)] == [Step(0), Step(0)]
    assert schedule.next_action(10.0 + FAULT_PAUSE_SECONDS, []) == Poll(POLL_LIMIT)


def test_a_page_does_not_wait_for_a_book() -> None:
    world = World(arrivals=[(0.0, 20_000), (20.0, 1)])
    world.run_until(40)
    assert 0 in world.runs, "the book is still being indexed"
    assert world.finished[1] - 20.0 <= INTERRUPT_SECONDS + POLL_SECONDS + 2 * STEP_SECONDS


def test_a_book_is_indexed_however_many_pages_come() -> None:
    world = World(arrivals=[(0.0, 320), *((at / 50, 1) for at in range(20_000))])
    world.run_until(200)
    # It gets half a second for every sixteen pages, which take a tenth of a second each: 5 of 21 steps.
    assert world.finished[0] < 20 / (5 / 22) * STEP_SECONDS + 2


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 600)), max_size=30))
def test_every_document_is_finished(arrivals: list[tuple[float, int]]) -> None:
    world = World(arrivals=sorted(arrivals))
    total = sum(chunks for _, chunks in arrivals)
    world.run_until(30 + (total / STEP_CHUNKS + len(arrivals)) * STEP_SECONDS * 2 + IDLE_SECONDS)
    assert len(world.finished) == len(arrivals)
    interrupting = [action for action in world.actions if isinstance(action, Poll) and action.interrupts]
    assert all(action.max_chunks == SHORT_CHUNKS for action in interrupting)
