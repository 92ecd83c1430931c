"""The engine over the fake model: grammars that fail, and grammars that search while other sequences go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import pytest

from core.errors import InternalError
from inference.engine.engine import Engine
from inference.engine.sequence import SequenceAborted, SequenceFailed, SequenceFinished
from tests.fakes.fake_backend import FakeBackend
from tests.support import wait_until
from tests.unit.inference.test_engine import Recorder, endless, request, text_of


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def engine(sink: Recorder) -> Iterator[Engine]:
    engine = Engine(FakeBackend(), slots=2, sink=sink)
    engine.start()
    yield engine
    engine.close()


class BrokenGrammar:
    """Fails at its third token."""

    is_complete = False

    def __init__(self) -> None:
        self._accepted = 0

    def mask(self) -> None:
        return None

    def check(self, token: int) -> None:
        return None

    def replacement(self, token: int) -> None:
        return None

    def accept(self, token: int) -> None:
        self._accepted += 1
        if self._accepted == 3:
            raise InternalError("the grammar failed")

    def resume(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self.accept(token)


@pytest.mark.parametrize("resumed", [[], [97, 97, 97]])
def test_a_grammar_that_fails_affects_only_its_sequence(engine: Engine, sink: Recorder, resumed: list[int]) -> None:
    engine.submit(request("fine", endless(), max_tokens=60))
    engine.submit(request("broken", endless(), max_tokens=60, constraint=BrokenGrammar, resume_token_ids=resumed))
    end = sink.wait("broken")
    assert isinstance(end, SequenceFailed)
    assert end.error.message == "the grammar failed"
    assert isinstance(sink.wait("fine"), SequenceFinished)
    assert sink.text("fine") == text_of(endless(), 60)
    assert engine.stats().crashes == 0


class GrammarWithoutMask(BrokenGrammar):
    """Fails when it is asked for the third mask."""

    def mask(self) -> None:
        if self._accepted == 2:
            raise InternalError("the grammar failed")


@pytest.mark.parametrize("resumed", [[], [97, 97]])
def test_a_mask_that_fails_affects_only_its_sequence(engine: Engine, sink: Recorder, resumed: list[int]) -> None:
    engine.submit(request("broken", endless(), max_tokens=60, constraint=GrammarWithoutMask, resume_token_ids=resumed))
    engine.submit(request("fine", endless(), max_tokens=60))
    end = sink.wait("broken")
    assert isinstance(end, SequenceFailed)
    assert end.error.message == "the grammar failed"
    assert isinstance(sink.wait("fine"), SequenceFinished)
    assert sink.text("fine") == text_of(endless(), 60)
    assert engine.stats().crashes == 0


class SearchingGrammar:
    """Searches before each token until `proceed` is done, and allows only the letter x."""

    is_complete = False

    def __init__(self) -> None:
        self.proceed: Future[None] = Future()
        self.checked: list[int] = []

    def mask(self) -> None:
        return None

    def check(self, token: int) -> Future[None] | None:
        self.checked.append(token)
        return None if self.proceed.done() else self.proceed

    def replacement(self, token: int) -> int:
        return ord("x")

    def accept(self, token: int) -> None:
        assert token == ord("x") and self.proceed.done()

    def resume(self, tokens: Sequence[int]) -> None:
        raise AssertionError


def test_a_sequence_that_waits_for_a_search_delays_no_other(engine: Engine, sink: Recorder) -> None:
    grammar = SearchingGrammar()
    engine.submit(request("searching", endless(), max_tokens=5, constraint=lambda: grammar))
    wait_until(lambda: bool(grammar.checked), 20)
    for at in range(3):
        engine.submit(request(f"fine {at}", max_tokens=20))
        assert isinstance(sink.wait(f"fine {at}"), SequenceFinished)
    assert len(grammar.checked) == 1 and sink.text("searching") == ""
    grammar.proceed.set_result(None)
    assert isinstance(sink.wait("searching"), SequenceFinished)
    assert sink.text("searching") == "xxxxx"


def test_a_sequence_that_waits_for_a_search_can_be_aborted(engine: Engine, sink: Recorder) -> None:
    grammar = SearchingGrammar()
    engine.submit(request("searching", endless(), max_tokens=5, constraint=lambda: grammar))
    wait_until(lambda: bool(grammar.checked), 20)
    engine.abort("searching")
    assert isinstance(sink.wait("searching"), SequenceAborted)
    grammar.proceed.set_result(None)
    engine.submit(request("fine"))
    assert isinstance(sink.wait("fine"), SequenceFinished)
