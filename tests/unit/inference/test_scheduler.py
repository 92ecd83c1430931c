"""The scheduler: no slot is used twice, no token is lost, every sequence ends, and the budget is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import Priority
from inference.engine.prompt_pieces import PieceLimits
from inference.engine.scheduler import MAX_OVERTAKES
from inference.engine.sequence import SequenceRequest
from inference.engine.stream_cache import GAP_STEPS
from tests.fakes.fake_backend import answer
from tests.unit.inference.driver import LAYOUTS, Driver, Layout, StreamCache

in_each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def request(
    name: str,
    prompt: list[int] | None = None,
    *,
    max_tokens: int = 5,
    priority: Priority = "interactive",
    key: str = "",
    deadline: float | None = None,
) -> SequenceRequest:
    return SequenceRequest(
        sequence_id=name,
        prompt_token_ids=prompt or [ord(letter) for letter in f"prompt {name}"],
        max_tokens=max_tokens,
        priority=priority,
        key=key,
        deadline=deadline,
    )


def endless(length: int) -> list[int]:
    """Return a prompt whose answer is at least `length` tokens long."""
    return next(prompt for at in range(256) if len(answer(prompt := [at], length)) == length)


def test_with_streams_all_pieces_of_prompts_beside_decoding_have_one_length() -> None:
    driver = Driver(slots=4, sequences=4, cells=800, step_tokens=64, layout=StreamCache)
    driver.submit(request("stream", endless(40), max_tokens=40))
    driver.step()
    waiting = [driver.submit(request(name, [ord(name)] * size)) for name, size in (("a", 30), ("b", 7), ("c", 90))]
    while any(sequence.generated == 0 for sequence in waiting):
        plan = driver.step(prompt_tokens=20)
        assert plan.decoding and plan.work
        assert len({work.count for work in plan.work if work.is_prompt}) <= 1
    driver.run_to_end()
    assert len(driver.ended) == 4


#: Few distinct tokens, so that prompts share prefixes.
prompts = st.lists(st.integers(97, 98), min_size=1, max_size=60)
requests = st.tuples(prompts, st.integers(1, 30), st.sampled_from(["interactive", "batch"]), st.sampled_from("xyz"))


@in_each_layout
@settings(max_examples=120, deadline=None)
@given(
    wanted=st.lists(requests, min_size=1, max_size=12),
    slots=st.integers(1, 4),
    cells=st.integers(100, 300),
    step_tokens=st.integers(4, 40),
    window_tokens=st.sampled_from([None, 12]),
    tile=st.sampled_from([1, 4]),
    data=st.data(),
)
def test_every_sequence_gets_the_text_it_would_get_alone(
    layout: Layout,
    wanted: list[tuple[list[int], int, Priority, str]],
    slots: int,
    cells: int,
    step_tokens: int,
    window_tokens: int | None,
    tile: int,
    data: st.DataObject,
) -> None:
    driver = Driver(
        slots=slots,
        sequences=slots,
        cells=cells,
        step_tokens=step_tokens,
        layout=layout,
        window_tokens=window_tokens,
        tile=tile,
    )
    aborted = set()
    for at, (prompt, max_tokens, priority, key) in enumerate(wanted):
        driver.submit(request(str(at), prompt, max_tokens=max_tokens, priority=priority, key=key))
        for _ in range(data.draw(st.integers(0, 4))):
            plan = driver.step(PieceLimits(*(data.draw(st.integers(1, step_tokens)) for _ in ("short", "tiled"))))
            ids = [work.sequence.seq_id for work in plan.work if work.sequence.seq_id is not None]
            assert len(ids) == len(set(ids)), "a slot is used twice"
            assert plan.token_count <= max(step_tokens, slots)
            assert len(driver.scheduler.running) <= slots
        if data.draw(st.integers(0, 9)) == 0 and (alive := driver.scheduler.sequences):
            victim = data.draw(st.sampled_from(alive))
            aborted.add(victim.request.sequence_id)
            driver.scheduler.remove(victim)
    driver.run_to_end()
    for at, (prompt, max_tokens, _, _) in enumerate(wanted):
        if str(at) not in aborted:
            assert driver.ended[str(at)] == answer(prompt, max_tokens)
    assert driver.cache.idle_sequences == slots, "an id was not released"


@in_each_layout
@settings(max_examples=60, deadline=None)
@given(
    prompt=prompts,
    most=st.integers(5, 40),
    right=st.integers(0, 6),
    wrong=st.integers(0, 6),
    step_tokens=st.integers(2, 20),
)
def test_drafts_do_not_change_the_text(
    layout: Layout, prompt: list[int], most: int, right: int, wrong: int, step_tokens: int
) -> None:
    driver = Driver(slots=2, sequences=2, cells=400, step_tokens=step_tokens, layout=layout)
    sequence = driver.submit(request("drafted", prompt, max_tokens=most))
    driver.submit(request("other", [1, 2, 3], max_tokens=most))
    truth = answer(prompt, most)
    while not driver.scheduler.is_idle:
        done = sequence.generated
        driver.step(drafts={"drafted": [*truth[done : done + right], *[0] * wrong]})
    assert driver.ended == {"drafted": truth, "other": answer([1, 2, 3], most)}


def test_decoding_goes_on_while_a_long_prompt_is_computed() -> None:
    driver = Driver(slots=2, sequences=2, cells=1000, step_tokens=64)
    driver.submit(request("decoding", [1], max_tokens=100))
    driver.step()
    driver.submit(request("long", list(range(200)), max_tokens=1))
    plan = driver.step(prompt_tokens=16)
    assert [(work.sequence.request.sequence_id, work.count) for work in plan.work] == [("decoding", 1), ("long", 16)]


def test_a_prompt_alone_takes_the_whole_budget() -> None:
    driver = Driver(slots=2, sequences=2, cells=1000, step_tokens=64)
    driver.submit(request("long", list(range(200)), max_tokens=1))
    assert driver.step(prompt_tokens=16).token_count == 64


@in_each_layout
def test_interactive_comes_before_batch_and_takes_its_slot(layout: Layout) -> None:
    driver = Driver(slots=1, sequences=1, cells=1000, step_tokens=64, layout=layout)
    batch = request("batch", [1, 2, 3], max_tokens=20, priority="batch")
    driver.submit(batch)
    driver.step()
    chat = request("chat", [4, 5, 6], max_tokens=3)
    driver.submit(chat)
    driver.step()
    assert [one.request.sequence_id for one in driver.scheduler.running] == ["chat"]
    driver.run_to_end()
    assert driver.ended == {"chat": answer([4, 5, 6], 3), "batch": answer([1, 2, 3], 20)}


@in_each_layout
def test_beside_interactive_work_one_batch_sequence_runs(layout: Layout) -> None:
    driver = Driver(slots=3, sequences=3, cells=1000, step_tokens=64, layout=layout)
    for name in ("first", "second", "third"):
        driver.submit(request(name, [ord(name[0])], max_tokens=20, priority="batch"))

    def step() -> list[str]:
        driver.step()
        return [one.request.sequence_id for one in driver.scheduler.running]

    assert step() == ["first", "second", "third"]
    for name in ("chat", "another", "one more"):
        driver.submit(request(name, [4, 5], max_tokens=5))
    assert step() == ["first", "chat", "another"], "and it keeps its slot"
    driver.run_to_end()
    assert {name: driver.ended[name] for name in ("first", "third")} == {
        name: answer([ord(name[0])], 20) for name in ("first", "third")
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 8), st.integers(1, 30))
def test_batch_work_ends_under_a_load_that_never_ends(slots: int, jobs: int, chat_tokens: int, job_tokens: int) -> None:
    """Check that batch work ends, one sequence after the other, while interactive work always exceeds the slots."""
    driver = Driver(slots=slots, sequences=slots, cells=1000, step_tokens=64)
    for at in range(jobs):
        driver.submit(request(f"batch-{at}", [at], max_tokens=job_tokens, priority="batch"))
    chats = 0

    def unfinished() -> set[str]:
        return {f"batch-{at}" for at in range(jobs)} - set(driver.ended)

    while unfinished():
        while driver.scheduler.waiting < slots + jobs:
            chats += 1
            driver.submit(request(f"chat-{chats}", [chats % 256, 7], max_tokens=chat_tokens))
        driver.step()
        due = [one for one in driver.scheduler.running if one.request.priority == "batch"]
        assert len(due) <= 1, "interactive work has all the other slots"
        assert driver.order[: MAX_OVERTAKES + 1].count("batch-0") == (len(driver.order) > MAX_OVERTAKES)
        ended = jobs - len(unfinished())
        assert len(driver.order) <= (ended + 1) * (MAX_OVERTAKES + 1) + slots * 30 * 2 * (ended + 1), "it starves"


def test_work_that_is_due_waits_for_a_slot_and_keeps_it() -> None:
    # Given a batch sequence that is due, while a chat runs in the only slot
    driver = Driver(slots=1, sequences=1, cells=1000, step_tokens=64)
    driver.submit(request("batch", endless(20), max_tokens=20, priority="batch"))
    for at in range(MAX_OVERTAKES + 5):
        driver.submit(request(f"chat-{at}", [at, 3], max_tokens=2))
    # When everything runs to its end
    driver.run_to_end()
    # Then it was overtaken no more often than allowed, was never preempted, and all chats were answered
    assert driver.order.index("batch") == MAX_OVERTAKES
    assert driver.scheduler.preemptions == 0
    assert len(driver.ended) == MAX_OVERTAKES + 6


def test_keys_take_turns() -> None:
    driver = Driver(slots=1, sequences=1, cells=1000, step_tokens=64)
    for at in range(4):
        driver.submit(request(f"greedy-{at}", key="greedy"))
    driver.submit(request("modest", key="modest"))
    driver.run_to_end()
    assert driver.order[:3] == ["greedy-0", "modest", "greedy-1"]


@in_each_layout
def test_choices_of_one_prompt_compute_it_once(layout: Layout) -> None:
    # Given three sequences with the same prompt that arrive together
    driver = Driver(slots=3, sequences=3, cells=1000, step_tokens=64, layout=layout)
    prompt = list(range(100))
    sequences = [driver.submit(request(str(at), prompt, max_tokens=3)) for at in range(3)]
    # When they run to their end
    driver.run_to_end()
    # Then the second and the third have shared all but the last token of the first
    assert [sequence.cached_tokens for sequence in sequences] == [0, 99, 99]
    computed = sum(len(entry.tokens) for step in driver.backend.steps for entry in step)
    assert computed < 100 + 3 * 10


def test_gaps_between_running_sequences_are_closed() -> None:
    # Given five sequences with a stream each, the second and the third of which end early
    driver = Driver(slots=5, sequences=5, cells=1000, step_tokens=64, layout=StreamCache)
    prompts = [prompt for at in range(20) if len(answer(prompt := [at] * 5, 30)) == 30][:5]
    for at, prompt in enumerate(prompts):
        driver.submit(request(str(at), prompt, max_tokens=3 if at in (1, 2) else 30))
    # When the others go on
    while "2" not in driver.ended:
        driver.step()
    for _ in range(2 * GAP_STEPS):
        driver.step()
    # Then their ids follow one another, and their texts are as if nothing had happened
    ids = sorted(one.held_id for one in driver.scheduler.running)
    assert ids == list(range(ids[0], ids[0] + 3))
    driver.run_to_end()
    assert driver.ended == {str(at): answer(prompt, 3 if at in (1, 2) else 30) for at, prompt in enumerate(prompts)}


def test_a_full_cache_preempts_the_latest_which_goes_on_later() -> None:
    # Given two sequences that fit one by one, but not together
    driver = Driver(slots=2, sequences=2, cells=60, step_tokens=32)
    prompts = [prompt for at in range(20) if len(answer(prompt := [at] * 20, 30)) == 30][:2]
    first, second = (driver.submit(request(str(at), prompt, max_tokens=30)) for at, prompt in enumerate(prompts))
    # When they run to their end
    driver.run_to_end()
    # Then both texts are complete, and only the second had to wait
    assert driver.ended == {str(at): answer(prompt, 30) for at, prompt in enumerate(prompts)}
    assert first.preemptions == 0
    assert second.preemptions >= 1
    assert driver.scheduler.preemptions < 10, "it was preempted again and again"


def test_removing_a_waiting_sequence_forgets_it() -> None:
    driver = Driver(slots=1, sequences=1, cells=100, step_tokens=32)
    driver.submit(request("running", max_tokens=9))
    waiting = driver.submit(request("waiting"))
    driver.step()
    driver.scheduler.remove(waiting)
    assert driver.scheduler.waiting == 0
    driver.run_to_end()
    assert set(driver.ended) == {"running"}


def test_sequences_past_their_deadline_are_returned() -> None:
    driver = Driver(slots=1, sequences=1, cells=100, step_tokens=32)
    late = driver.submit(request("late", deadline=10.0))
    driver.submit(request("patient", deadline=20.0))
    driver.submit(request("eternal"))
    assert driver.scheduler.expired(15.0) == [late]
