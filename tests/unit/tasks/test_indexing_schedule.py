"""What the indexer does next: values in, decisions out, and a simulated clock."""

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
    LOOK_LIMIT,
    SHORT_CHUNKS,
    IndexingSchedule,
    Look,
    RunState,
    Step,
    Wait,
)

#: Chunks of a step, and the seconds that it and a look take in the simulation.
STEP_CHUNKS, STEP_SECONDS, LOOK_SECONDS = 16, 0.1, 0.01
SHORT, LONG = RunState(10), RunState(1000)


@dataclass
class World:
    """An indexer whose documents are numbers of chunks. Each document is a run of its own."""

    schedule: IndexingSchedule = field(default_factory=IndexingSchedule)
    now: float = 0.0
    #: Documents that come: when, and how many chunks they have.
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    waiting: list[tuple[int, int]] = field(default_factory=list)
    runs: dict[int, RunState] = field(default_factory=dict)
    finished: dict[int, float] = field(default_factory=dict)
    actions: list[Look | Step | Wait] = field(default_factory=list)
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
            case Look() as look:
                self.now += LOOK_SECONDS
                self.schedule.looked(self.now, found=self._take(look), was_woken=False)

    def _step(self, name: int) -> None:
        run = self.runs[name]
        run = self.runs[name] = replace(run, done=min(run.chunks, run.done + STEP_CHUNKS))
        if run.remaining == 0:
            del self.runs[name]
            self.finished[name] = self.now

    def _take(self, look: Look) -> bool:
        fitting = [one for one in self.waiting if look.max_chunks is None or one[1] <= look.max_chunks][: look.limit]
        self.waiting = [one for one in self.waiting if one not in fitting]
        self.runs |= {name: RunState(chunks) for name, chunks in fitting}
        return bool(fitting)

    def run_until(self, seconds: float) -> None:
        while self.now < seconds:
            self.act()


def test_it_looks_first_and_less_and_less_often_while_there_is_nothing() -> None:
    world = World()
    world.run_until(60)
    waits = [round(action.seconds, 6) for action in world.actions if isinstance(action, Wait)]
    assert world.actions[0] == Look(LOOK_LIMIT)
    assert waits[0] == pytest.approx(BUSY_SECONDS) and waits == sorted(waits)
    assert waits[-1] == pytest.approx(IDLE_SECONDS)


def test_a_message_makes_it_look_at_once_and_again_soon() -> None:
    world = World()
    world.run_until(60)
    world.schedule.woken(world.now)
    assert world.schedule.next_action(world.now, []) == Look(LOOK_LIMIT)
    world.schedule.looked(world.now, found=False, was_woken=True)
    assert world.schedule.next_action(world.now, []) == Wait(BUSY_SECONDS)


def test_it_looks_again_at_once_after_a_look_that_found_something() -> None:
    schedule = IndexingSchedule()
    schedule.looked(7.0, found=True, was_woken=False)
    assert schedule.next_action(7.0, []) == Look(LOOK_LIMIT)


def test_the_run_with_the_least_left_goes_first() -> None:
    schedule = IndexingSchedule()
    assert schedule.next_action(0.0, [LONG, RunState(30), SHORT]) == Step(2)
    assert schedule.next_action(0.0, [LONG, RunState(30, done=25), SHORT]) == Step(1)
    assert schedule.next_action(0.0, [LONG, RunState(900), RunState(1500, done=1400)]) == Step(2)


def test_chunks_that_go_into_two_models_count_twice() -> None:
    assert RunState(10, done=10, models=2).remaining == 10
    assert RunState(SHORT_CHUNKS, models=2).is_short


def test_a_long_run_is_interrupted_for_short_documents_only_and_then_has_its_time() -> None:
    schedule = IndexingSchedule()
    assert schedule.next_action(0.0, [LONG]) == Step(0)
    assert schedule.next_action(INTERRUPT_SECONDS - 0.01, [LONG]) == Step(0)
    look = schedule.next_action(INTERRUPT_SECONDS, [LONG])
    assert look == Look(INTERRUPT_LIMIT, SHORT_CHUNKS) and look.interrupts
    # The short documents that it found took so long that it would be time again
    assert schedule.next_action(INTERRUPT_SECONDS, [LONG, SHORT]) == Step(1)
    assert schedule.next_action(3.0, [LONG]) == Step(0)
    assert schedule.next_action(3.0 + INTERRUPT_SECONDS, [LONG]) == Look(INTERRUPT_LIMIT, SHORT_CHUNKS)


def test_after_a_fault_nothing_new_is_taken_for_a_while_and_runs_go_on() -> None:
    schedule = IndexingSchedule()
    schedule.failed(10.0)
    assert schedule.next_action(10.0, []) == Wait(FAULT_PAUSE_SECONDS)
    schedule.woken(10.1)
    assert schedule.next_action(10.25, []) == Wait(FAULT_PAUSE_SECONDS - 0.25)
    assert [schedule.next_action(10.0 + at, [LONG]) for at in (0.1, 0.9)] == [Step(0), Step(0)]
    assert schedule.next_action(10.0 + FAULT_PAUSE_SECONDS, []) == Look(LOOK_LIMIT)


def test_a_page_does_not_wait_for_a_book() -> None:
    world = World(arrivals=[(0.0, 20_000), (20.0, 1)])
    world.run_until(40)
    assert 0 in world.runs, "the book is still being indexed"
    assert world.finished[1] - 20.0 <= INTERRUPT_SECONDS + LOOK_SECONDS + 2 * STEP_SECONDS


def test_a_book_goes_on_however_many_pages_come() -> None:
    world = World(arrivals=[(0.0, 320), *((at / 50, 1) for at in range(20_000))])
    world.run_until(200)
    # It has half a second to itself for each sixteen pages of a tenth of a second: 5 of 21 steps
    assert world.finished[0] < 20 / (5 / 22) * STEP_SECONDS + 2


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 600)), max_size=30))
def test_every_document_is_finished(arrivals: list[tuple[float, int]]) -> None:
    world = World(arrivals=sorted(arrivals))
    total = sum(chunks for _, chunks in arrivals)
    world.run_until(30 + (total / STEP_CHUNKS + len(arrivals)) * STEP_SECONDS * 2 + IDLE_SECONDS)
    assert len(world.finished) == len(arrivals)
    interrupting = [action for action in world.actions if isinstance(action, Look) and action.interrupts]
    assert all(action.max_chunks == SHORT_CHUNKS for action in interrupting)
