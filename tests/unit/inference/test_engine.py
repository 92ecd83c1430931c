"""The engine over the fake model: messages in, events out, and what happens if something fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest

from core.errors import Unavailable
from core.messages import SamplingParams
from inference.engine.engine import Engine
from inference.engine.sequence import (
    FinishReason,
    SequenceAborted,
    SequenceDelta,
    SequenceEvent,
    SequenceFailed,
    SequenceFinished,
    SequenceRequest,
    SequenceStarted,
)
from tests.fakes.fake_backend import FakeBackend, answer
from tests.support import wait_until

TERMINAL = (SequenceFinished, SequenceFailed, SequenceAborted)


class Recorder:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.calls: list[list[SequenceEvent]] = []

    def __call__(self, events: Sequence[SequenceEvent]) -> None:
        self.calls.append(list(events))

    def of(self, name: str) -> list[SequenceEvent]:
        return [event for call in list(self.calls) for event in call if event.sequence_id == name]

    def text(self, name: str) -> str:
        return "".join(event.text for event in self.of(name) if isinstance(event, SequenceDelta))

    def wait(self, name: str) -> SequenceEvent:
        wait_until(lambda: any(isinstance(event, TERMINAL) for event in self.of(name)), 20)
        return self.of(name)[-1]


@pytest.fixture(params=[False, True], ids=["unified", "streams"])
def backend(request: pytest.FixtureRequest) -> FakeBackend:
    return FakeBackend(has_streams=request.param)


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def engine(backend: FakeBackend, sink: Recorder) -> Iterator[Engine]:
    engine = Engine(backend, slots=2, default_max_tokens=16, sink=sink)
    engine.start()
    yield engine
    backend.before_decode = lambda: None
    engine.close()


@pytest.fixture
def gate(backend: FakeBackend) -> threading.Event:
    """Return the event for which each step waits, so that what a test submits before it is set begins together."""
    gate = threading.Event()
    backend.before_decode = lambda: None if gate.wait(60) else None
    return gate


PROMPT = [ord(letter) for letter in "a prompt"]
GREEDY = SamplingParams(temperature=0)


def request(name: str, prompt: list[int] | None = None, **options: object) -> SequenceRequest:
    defaults: dict[str, object] = {"sampling": GREEDY, "max_tokens": 20}
    return SequenceRequest(sequence_id=name, prompt_token_ids=prompt or PROMPT, **(defaults | options))  # type: ignore[arg-type]


def text_of(prompt: list[int], tokens: int) -> str:
    return bytes(answer(prompt, tokens)).decode()


def endless(length: int = 60) -> list[int]:
    """Return a prompt whose answer is at least `length` tokens long."""
    return next(prompt for at in range(256) if len(answer(prompt := [at], length)) == length)


def test_a_sequence_starts_streams_and_finishes(engine: Engine, sink: Recorder) -> None:
    engine.submit(request("one"))
    end = sink.wait("one")
    events = sink.of("one")
    assert isinstance(events[0], SequenceStarted)
    assert isinstance(end, SequenceFinished)
    assert sink.text("one") == text_of(PROMPT, 20)
    assert end.usage.prompt_tokens == len(PROMPT)
    assert end.usage.completion_tokens == len(answer(PROMPT, 20))
    assert all(earlier.produced_at <= later.produced_at for earlier, later in pairwise(events))


def test_many_sequences_share_the_slots(
    engine: Engine, backend: FakeBackend, sink: Recorder, gate: threading.Event
) -> None:
    prompts = {f"s{at}": [97 + at, 98, 99] for at in range(10)}
    for name, prompt in prompts.items():
        engine.submit(request(name, prompt))
    gate.set()
    for name, prompt in prompts.items():
        sink.wait(name)
        assert sink.text(name) == text_of(prompt, 20)
    assert max(len(step) for step in backend.steps) == 2


def test_one_sink_call_carries_the_events_of_all_sequences(
    engine: Engine, sink: Recorder, gate: threading.Event
) -> None:
    engine.submit(request("a", [1, 2]))
    engine.submit(request("b", [3, 4]))
    gate.set()
    sink.wait("a"), sink.wait("b")
    assert any(
        len({event.sequence_id for event in call if isinstance(event, SequenceDelta)}) == 2 for call in sink.calls
    )


def test_the_rows_of_a_step_are_announced_before_the_first_is_sampled(
    engine: Engine, backend: FakeBackend, sink: Recorder, gate: threading.Event
) -> None:
    # Given two sequences, of which one has a draft now and then
    calls: list[list[str]] = []
    backend.before_decode = lambda: calls.append(list(backend.sampler_calls)) if gate.wait(60) else None
    engine.submit(request("a", endless(), max_tokens=30, prompt_lookup=True))
    engine.submit(request("b", endless(61), max_tokens=30))
    gate.set()
    for name in ("a", "b"):
        sink.wait(name)
    # Then samplers know the rows of all sequences before the first token is sampled
    both = [step for step in calls if step.count("expect") == 2]
    assert both and all(step[:2] == ["expect", "expect"] for step in both)


def test_a_second_prompt_reports_what_was_cached(engine: Engine, sink: Recorder) -> None:
    prompt = list(range(97, 122))
    engine.submit(request("first", prompt, max_tokens=3))
    sink.wait("first")
    engine.submit(request("second", [*prompt, 5, 6], max_tokens=3))
    end = sink.wait("second")
    assert isinstance(end, SequenceFinished)
    assert end.usage.cached_tokens == len(prompt)


def test_a_cached_prompt_that_cannot_be_reused_is_computed_again(
    engine: Engine, backend: FakeBackend, sink: Recorder
) -> None:
    # Given a cached prompt for which the runtime has no room
    prompt = list(range(97, 142))
    engine.submit(request("first", prompt, max_tokens=3))
    sink.wait("first")
    backend.copies_fail = True
    # When two prompts begin like it, so that the second would share the prefix of the first
    engine.submit(request("second", [*prompt, 5, 6], max_tokens=3))
    engine.submit(request("third", [*prompt, 5, 7], max_tokens=3))
    # Then both are answered in full, and no token wrongly counts as cached
    for name, ending in (("second", [5, 6]), ("third", [5, 7])):
        end = sink.wait(name)
        assert isinstance(end, SequenceFinished)
        assert end.usage.completion_tokens == len(answer([*prompt, *ending], 3))
        if name == "second":  # in streams, it goes on where the first one ended
            assert end.usage.cached_tokens == (len(prompt) if backend.has_streams else 0)


def test_abort_frees_the_slot_within_a_step(engine: Engine, backend: FakeBackend, sink: Recorder) -> None:
    # Given a sequence in the middle of its fourth step
    steps = threading.Semaphore(3)
    backend.before_decode = lambda: None if steps.acquire(timeout=20) else None
    engine.submit(request("doomed", endless(100), max_tokens=100))
    wait_until(lambda: len(sink.text("doomed")) == 3, 20)
    # When it is aborted and that step ends
    engine.abort("doomed", "the client left")
    steps.release()
    end = sink.wait("doomed")
    # Then there is no fifth step
    assert len(sink.text("doomed")) <= 4
    assert isinstance(end, SequenceAborted)
    assert end.reason == "the client left"
    wait_until(lambda: engine.stats().running == 0, 20)
    assert all(sampler.closed for sampler in backend.samplers)


def test_abort_of_a_waiting_sequence(engine: Engine, sink: Recorder, gate: threading.Event) -> None:
    for name in ("a", "b", "waiting"):
        engine.submit(request(name))
    engine.abort("waiting")
    gate.set()
    assert isinstance(sink.wait("waiting"), SequenceAborted)
    assert not any(isinstance(event, SequenceStarted) for event in sink.of("waiting"))
    assert isinstance(sink.wait("b"), SequenceFinished)


def test_a_deadline_that_has_passed_ends_the_sequence(engine: Engine, sink: Recorder) -> None:
    engine.submit(request("late", deadline=time.time() - 1))
    end = sink.wait("late")
    assert isinstance(end, SequenceAborted)
    assert end.reason == "deadline"


def test_stop_string(engine: Engine, sink: Recorder) -> None:
    whole = text_of(endless(), 60)
    stop = whole[20:23]
    engine.submit(request("stopped", endless(), max_tokens=60, sampling=SamplingParams(temperature=0, stop=[stop])))
    end = sink.wait("stopped")
    assert isinstance(end, SequenceFinished)
    assert end.finish_reason is FinishReason.STOP
    assert sink.text("stopped") == whole[: whole.index(stop)]


def test_ignore_eos_goes_on_to_the_last_token(engine: Engine, sink: Recorder) -> None:
    engine.submit(request("eager", max_tokens=100, sampling=SamplingParams(temperature=0, ignore_eos=True)))
    end = sink.wait("eager")
    assert isinstance(end, SequenceFinished)
    assert (end.finish_reason, end.usage.completion_tokens) == (FinishReason.LENGTH, 100)


@pytest.mark.parametrize("known", [1, 7, 30, 59])
def test_resuming_continues_the_text(engine: Engine, sink: Recorder, known: int) -> None:
    # Given an answer of which an attempt had generated `known` tokens and sent all but two characters
    prompt, whole = endless(), answer(endless(), 60)
    sent = max(0, known - 2)
    # When another attempt resumes it
    engine.submit(request("again", prompt, max_tokens=60, resume_token_ids=whole[:known], resume_text_length=sent))
    end = sink.wait("again")
    # Then the text continues after what was sent, and the usage counts the whole answer
    assert sink.text("again") == bytes(whole).decode()[sent:]
    assert isinstance(end, SequenceFinished)
    assert end.usage.completion_tokens == 60
    assert [
        token for event in sink.of("again") if isinstance(event, SequenceDelta) for token in event.token_ids
    ] == whole[known:]


def test_resuming_a_complete_answer_only_finishes_it(engine: Engine, sink: Recorder) -> None:
    whole = answer(endless(), 10)
    engine.submit(request("done", endless(), max_tokens=10, resume_token_ids=whole, resume_text_length=8))
    end = sink.wait("done")
    assert isinstance(end, SequenceFinished)
    assert sink.text("done") == bytes(whole).decode()[8:]


def test_logprobs(engine: Engine, sink: Recorder) -> None:
    sampling = SamplingParams(temperature=0, logprobs=True, top_logprobs=3)
    engine.submit(request("scored", endless(), max_tokens=5, sampling=sampling))
    sink.wait("scored")
    scores = [one for event in sink.of("scored") if isinstance(event, SequenceDelta) for one in event.logprobs]
    assert "".join(score.token for score in scores) == sink.text("scored")
    assert all(score.logprob < 0 and len(score.top) == 3 and score.top[0][0] == score.token for score in scores)


def test_prompt_lookup_gives_the_same_text_in_fewer_steps(engine: Engine, backend: FakeBackend, sink: Recorder) -> None:
    # Given a prompt that contains its own answer
    prompt = endless()
    quoted = [*answer(prompt, 60), 10, *prompt]
    engine.submit(request("plain", quoted, max_tokens=40))
    sink.wait("plain")
    engine.submit(request("lookup", quoted, max_tokens=40, prompt_lookup=True))
    sink.wait("lookup")
    assert sink.text("lookup") == sink.text("plain")


def test_a_crash_fails_its_sequences_and_the_engine_goes_on(
    engine: Engine, backend: FakeBackend, sink: Recorder
) -> None:
    def crash() -> None:
        backend.before_decode = lambda: None
        raise RuntimeError("out of memory")

    backend.before_decode = crash
    engine.submit(request("unlucky"))
    end = sink.wait("unlucky")
    assert isinstance(end, SequenceFailed)
    assert "out of memory" in end.error.message
    engine.submit(request("lucky"))
    assert isinstance(sink.wait("lucky"), SequenceFinished)
    assert sink.text("lucky") == text_of(PROMPT, 20)
    assert engine.stats().crashes == 1


@pytest.mark.filterwarnings("error")
def test_an_engine_that_cannot_recover_says_so(engine: Engine, backend: FakeBackend, sink: Recorder) -> None:
    def crash() -> None:
        raise RuntimeError("broken for good")

    backend.before_decode = crash
    for at in range(3):
        engine.submit(request(str(at)))
        assert isinstance(sink.wait(str(at)), SequenceFailed)
    wait_until(lambda: not engine.alive, 20)
    with pytest.raises(Unavailable):
        engine.submit(request("too late"))


def test_a_broken_sink_fails_only_what_it_lost(backend: FakeBackend) -> None:
    recorder = Recorder()

    def sink(events: Sequence[SequenceEvent]) -> None:
        if any(isinstance(event, SequenceDelta) and event.sequence_id == "lost" for event in events):
            raise ConnectionError("away")
        recorder(events)

    engine = Engine(backend, slots=1, default_max_tokens=16, sink=sink)
    engine.start()
    engine.submit(request("lost"))
    assert isinstance(recorder.wait("lost"), SequenceFailed)
    engine.submit(request("fine"))
    assert isinstance(recorder.wait("fine"), SequenceFinished)
    engine.close()


def test_closing_aborts_all_sequences(backend: FakeBackend, sink: Recorder) -> None:
    engine = Engine(backend, slots=1, default_max_tokens=16, sink=sink)
    engine.start()
    engine.submit(request("running", endless(100), max_tokens=100))
    engine.submit(request("waiting"))
    engine.close()
    assert {type(sink.of(name)[-1]) for name in ("running", "waiting")} <= {SequenceAborted, SequenceFinished}
    assert backend.closed
