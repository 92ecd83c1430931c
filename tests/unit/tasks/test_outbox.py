"""Which events the outbox passes to the publisher, and when."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from core.messages import TokenLogprob
from inference.engine.sequence import (
    SequenceAborted,
    SequenceDelta,
    SequenceEvent,
    SequenceStarted,
)
from tasks.chat.outbox import Outbox, merge_deltas

DEADLINE_SECONDS = 5
LONG = 1000.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def delta(name: str, text: str, *token_ids: int, logprobs: list[TokenLogprob] | None = None) -> SequenceDelta:
    return SequenceDelta(
        sequence_id=name, produced_at=0, text=text, token_ids=list(token_ids) or [0], logprobs=logprobs or []
    )


def ended(name: str) -> SequenceAborted:
    return SequenceAborted(sequence_id=name, produced_at=0, reason="cancelled")


def started(name: str) -> SequenceStarted:
    return SequenceStarted(sequence_id=name, produced_at=0)


def test_first_text_is_due_at_once_and_further_text_in_portions() -> None:
    clock = Clock()
    outbox = Outbox(LONG, clock)
    outbox.put([started("a")])
    assert outbox.take() == [started("a")]
    outbox.put([delta("a", "", 1)])  # half a character is nothing to show
    outbox.put([delta("a", "Hel", 2)])
    assert outbox.take() == [delta("a", "Hel", 1, 2)]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(outbox.take)
        outbox.put([delta("a", "lo", 3)])
        outbox.put([delta("a", ", ", 4)])
        clock.now = LONG
        outbox.put([delta("a", "you", 5)])
        assert waiting.result(DEADLINE_SECONDS) == [delta("a", "lo, you", 3, 4, 5)]


def test_the_start_or_end_of_a_sequence_releases_the_text_of_all() -> None:
    outbox = Outbox(LONG, Clock())
    outbox.put([delta("a", "A")])
    assert outbox.take() == [delta("a", "A")]
    outbox.put([delta("a", "B")])
    outbox.put([delta("a", "C"), delta("b", "X")])
    assert outbox.take() == [delta("a", "BC", 0, 0), delta("b", "X")]
    outbox.put([delta("a", "D"), delta("b", "Y")])
    outbox.put([ended("b")])
    assert outbox.take() == [delta("a", "D"), delta("b", "Y"), ended("b")]


def test_text_is_due_after_a_while_even_if_no_step_follows() -> None:
    outbox = Outbox(0.01)
    outbox.put([delta("a", "A")])
    assert outbox.take() == [delta("a", "A")]
    outbox.put([delta("a", "B")])
    with ThreadPoolExecutor() as pool:
        assert pool.submit(outbox.take).result(DEADLINE_SECONDS) == [delta("a", "B")]


def test_without_an_interval_each_step_is_a_portion() -> None:
    outbox = Outbox(0)
    for text in "AB":
        outbox.put([delta("a", text)])
        assert outbox.take() == [delta("a", text)]


def test_the_rest_is_released_when_the_outbox_is_closed() -> None:
    outbox = Outbox(LONG, Clock())
    outbox.put([delta("a", "A")])
    outbox.take()
    outbox.put([delta("a", "B")])
    outbox.close()
    assert outbox.take() == [delta("a", "B")]
    assert outbox.take() is None


def test_merged_deltas_keep_their_logprobs() -> None:
    one, two = (TokenLogprob(token=token, logprob=-1.0, bytes=[], top=[]) for token in "xy")
    (merged,) = merge_deltas([delta("a", "x", 1, logprobs=[one]), delta("a", "y", 2, logprobs=[two])])
    assert merged == delta("a", "xy", 1, 2, logprobs=[one, two])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["start", "text", "end"]), st.text(max_size=3))))
def test_merging_loses_nothing_and_keeps_the_order_of_each_sequence(drawn: list[tuple[str, str, str]]) -> None:
    makers = {"start": lambda name, _: started(name), "text": delta, "end": lambda name, _: ended(name)}
    events: list[SequenceEvent] = [makers[kind](name, text) for name, kind, text in drawn]
    for name in "abc":
        assert history(merge_deltas(events), name) == history(events, name)


def history(events: list[SequenceEvent], name: str) -> list[str]:
    """Return the history of one sequence: the letters of its text and the names of its other events."""
    found: list[str] = []
    for event in events:
        if event.sequence_id == name:
            found += list(event.text) if isinstance(event, SequenceDelta) else [type(event).__name__]
    return found


def test_all_events_that_one_thread_puts_reach_another() -> None:
    outbox = Outbox(0.001)
    count = 2000
    taken: list[SequenceEvent] = []

    def take_all() -> None:
        while (portion := outbox.take()) is not None:
            taken.extend(portion)

    reader = threading.Thread(target=take_all)
    reader.start()
    for number in range(count):
        outbox.put([delta("a", str(number % 10), number)])
    outbox.close()
    reader.join(DEADLINE_SECONDS)
    tokens = [token for event in taken if isinstance(event, SequenceDelta) for token in event.token_ids]
    assert tokens == list(range(count))


def test_what_is_thought_is_merged_but_not_into_text_that_came_before_it() -> None:
    thinks = [replace(delta("a", "", at), reasoning=text) for at, text in enumerate(("Hm", "."))]
    later = replace(delta("a", "!", 4), reasoning="Or?")
    merged = merge_deltas([*thinks, delta("a", "Yes", 2), delta("a", ".", 3), later])
    assert merged == [replace(delta("a", "Yes.", 0, 1, 2, 3), reasoning="Hm."), later]
