"""The engine over the fake model: what is thought is separated, and grammars begin where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from core.errors import InternalError
from core.messages import SamplingParams
from inference.engine.engine import Engine
from inference.engine.sequence import SequenceDelta, SequenceEvent, SequenceFinished, constrained
from inference.text.reasoning import Beginning, Reasoning, ReasoningFormat
from tests.fakes.fake_backend import END, VOCAB_SIZE, FakeBackend
from tests.unit.inference.test_engine import Recorder, endless, request

THINK = ReasoningFormat("<think>", "</think>")
CLOSING = "\n</think>"
WORD = b"xyz"


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def engine(sink: Recorder) -> Iterator[Engine]:
    engine = Engine(FakeBackend(cells=1024, context_length=256), slots=2, sink=sink)
    engine.start()
    yield engine
    engine.close()


class WordGrammar:
    """Allows the bytes of one word, one after the other."""

    created: list[int]

    def __init__(self) -> None:
        self._written = 0

    @classmethod
    def factory(cls, used: list[int], word: bytes = WORD) -> object:
        def create(used_tokens: int = 0) -> WordGrammar:
            used.append(used_tokens)
            grammar = cls()
            grammar.word = word
            return grammar

        return create

    word = WORD

    def mask(self) -> bytes:
        mask = bytearray(4 * ((VOCAB_SIZE + 31) // 32))
        token = self.word[self._written]
        mask[token >> 3] = 1 << (token & 7)
        return bytes(mask)

    def check(self, token: int) -> None:
        return None

    def replacement(self, token: int) -> None:
        return None

    def accept(self, token: int) -> None:
        if token != self.word[self._written]:
            raise InternalError(f"{token} is not allowed")
        self._written += 1

    def resume(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self.accept(token)

    @property
    def is_complete(self) -> bool:
        return self._written == len(self.word)


def thought(events: Sequence[SequenceEvent]) -> str:
    return "".join(event.reasoning for event in events if isinstance(event, SequenceDelta))


def tokens_of(events: Sequence[SequenceEvent]) -> list[int]:
    return [token for event in events if isinstance(event, SequenceDelta) for token in event.token_ids]


def run(engine: Engine, sink: Recorder, name: str, beginning: Beginning, **options: object) -> SequenceFinished:
    constraint = options.pop("constraint", None)
    plain = request(name, endless(120), reasoning=Reasoning(THINK, beginning), **options)
    engine.submit(constrained(plain, constraint))  # type: ignore[arg-type]
    end = sink.wait(name)
    assert isinstance(end, SequenceFinished), end
    return end


def biased(*tokens: int) -> SamplingParams:
    return SamplingParams(temperature=0, logit_bias=dict.fromkeys(tokens, 100.0))


def test_reasoning_gets_half_of_the_tokens_and_the_grammar_the_others(engine: Engine, sink: Recorder) -> None:
    used: list[int] = []
    end = run(engine, sink, "one", Beginning.INSIDE, max_tokens=60, constraint=WordGrammar.factory(used))
    events = sink.of("one")
    assert (sink.text("one"), end.finish_reason) == ("xyz", "stop")
    assert bytes(tokens_of(events)).decode() == thought(events) + f"{CLOSING}xyz"
    assert used == [30] and end.usage.reasoning_tokens == 30 and end.usage.completion_tokens == 33


def test_a_model_that_ends_its_answer_while_it_thinks_is_led_to_the_answer(engine: Engine, sink: Recorder) -> None:
    used: list[int] = []
    grammar = WordGrammar.factory(used)
    end = run(engine, sink, "one", Beginning.INSIDE, max_tokens=60, constraint=grammar, sampling=biased(END))
    assert (sink.text("one"), thought(sink.of("one")), used) == ("xyz", "", [len(CLOSING)])
    assert end.usage.reasoning_tokens == len(CLOSING)


@pytest.mark.parametrize("word", [WORD, b"<b>"], ids=["tag not in grammar", "tag begins like the answer"])
def test_a_model_may_open_its_reasoning_before_the_grammar(engine: Engine, sink: Recorder, word: bytes) -> None:
    used: list[int] = []
    grammar = WordGrammar.factory(used, word)
    run(engine, sink, "thinks", Beginning.OPTIONAL, max_tokens=80, constraint=grammar, sampling=biased(ord("<")))
    run(engine, sink, "answers", Beginning.OPTIONAL, max_tokens=80, constraint=grammar, sampling=biased(word[0]))
    run(engine, sink, "closed", Beginning.NONE, max_tokens=80, constraint=grammar, sampling=biased(ord("<")))
    text = word.decode()
    assert sink.text("answers") == sink.text("closed") == text and thought(sink.of("answers")) == ""
    assert sink.text("thinks") == text
    if word == WORD:
        assert set(thought(sink.of("thinks"))) == {"<"} and used == [0, 40, 0, 0]


@pytest.mark.parametrize("beginning", [Beginning.INSIDE, Beginning.OPTIONAL])
def test_a_constrained_answer_resumes_after_every_token(engine: Engine, sink: Recorder, beginning: Beginning) -> None:
    options = {"max_tokens": 60, "constraint": WordGrammar.factory([]), "sampling": biased(ord("<"))}
    whole = run(engine, sink, "whole", beginning, **options)
    tokens, reasoning = tokens_of(sink.of("whole")), thought(sink.of("whole"))
    for at in range(len(tokens)):
        name = f"resumed after {at}"
        end = run(engine, sink, name, beginning, **options, resume_token_ids=tokens[:at], resume_reasoning_length=5)
        assert (sink.text(name), thought(sink.of(name))) == ("xyz", reasoning[5:]), name
        assert (end.usage.completion_tokens, end.usage.reasoning_tokens) == (whole.usage.completion_tokens, 30), name


def resumed(engine: Engine, sink: Recorder, text: str, beginning: Beginning, **options: object) -> SequenceFinished:
    return run(engine, sink, "one", beginning, resume_token_ids=list(text.encode()), **options)


def test_what_is_thought_is_separated_and_counted(engine: Engine, sink: Recorder) -> None:
    written = "Hm.\n</think>\n\nYes"
    end = resumed(engine, sink, written, Beginning.INSIDE, max_tokens=30)
    assert thought(sink.of("one")) == "Hm." and sink.text("one").startswith("Yes")
    assert end.usage.reasoning_tokens == len(written) - len("Yes")
    assert end.usage.completion_tokens == 30


def test_reasoning_that_is_cut_is_no_answer(engine: Engine, sink: Recorder) -> None:
    end = resumed(engine, sink, "<think>Hm", Beginning.OPTIONAL, max_tokens=12)
    assert thought(sink.of("one")).startswith("Hm") and sink.text("one") == ""
    assert end.usage.reasoning_tokens == 12 and end.finish_reason == "length"


def test_only_tokens_of_the_answer_have_logprobs(engine: Engine, sink: Recorder) -> None:
    """Begin the closing tag in the resumed tokens, and let the model write the others of it and of the answer."""
    sampling = SamplingParams(temperature=0, logprobs=True, logit_bias={ord(">"): 100.0})
    resumed(engine, sink, "Hm.</think", Beginning.INSIDE, max_tokens=14, sampling=sampling)
    logprobs = [entry for event in sink.of("one") if isinstance(event, SequenceDelta) for entry in event.logprobs]
    assert "".join(entry.token for entry in logprobs) == sink.text("one") == ">>>"


def test_the_logprobs_of_what_only_looked_like_a_tag_are_kept(engine: Engine, sink: Recorder) -> None:
    sampling = SamplingParams(temperature=0, logprobs=True, logit_bias={ord("<"): 100.0})
    run(engine, sink, "one", Beginning.OPTIONAL, max_tokens=1, sampling=sampling)
    logprobs = [entry for event in sink.of("one") if isinstance(event, SequenceDelta) for entry in event.logprobs]
    assert [entry.token for entry in logprobs] == ["<"] and sink.text("one") == "<"


def test_stop_strings_end_the_answer_and_not_the_reasoning(engine: Engine, sink: Recorder) -> None:
    sampling = SamplingParams(temperature=0, stop=["END"])
    end = resumed(engine, sink, "END?</think>Go END", Beginning.INSIDE, max_tokens=40, sampling=sampling)
    assert (thought(sink.of("one")), sink.text("one"), end.finish_reason) == ("END?", "Go ", "stop")
