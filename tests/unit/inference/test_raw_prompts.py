"""Prompts without a template, and the log probabilities of a prompt's tokens, with the fake model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest

from core.errors import ContextLengthExceeded, InvalidRequest
from core.messages import ChatMessage, SamplingParams, TokenLogprob
from inference.engine.backend import FillInMiddle
from inference.engine.engine import Engine
from inference.engine.preparation import PreparedPrompt
from inference.engine.sequence import FinishReason, SequenceDelta, SequenceEvent, SequenceFinished, SequenceRequest
from inference.text.chat_template import ChatTemplate
from inference.text.template_choice import family_template
from tests.fakes.fake_backend import BOS, END, TURN, FakeBackend, answer
from tests.support import wait_until

GREEDY = SamplingParams(temperature=0)
SCORING = SamplingParams(temperature=0, logprobs=True, top_logprobs=1)
PROMPT = [BOS, *b"a prompt of some more tokens than one step scores"]


class Recorder:
    def __init__(self) -> None:
        self.events: list[SequenceEvent] = []

    def __call__(self, events: Sequence[SequenceEvent]) -> None:
        self.events += events

    def wait(self, name: str = "one") -> SequenceFinished:
        wait_until(lambda: any(isinstance(event, SequenceFinished) for event in self.of(name)), 20)
        last = self.of(name)[-1]
        assert isinstance(last, SequenceFinished)
        return last

    def of(self, name: str = "one") -> list[SequenceEvent]:
        return [event for event in list(self.events) if event.sequence_id == name]

    def deltas(self, name: str = "one") -> list[SequenceDelta]:
        return [event for event in self.of(name) if isinstance(event, SequenceDelta)]

    def logprobs(self, name: str = "one") -> list[TokenLogprob]:
        return [entry for delta in self.deltas(name) for entry in delta.logprobs]

    def tokens(self, name: str = "one") -> list[int]:
        return [token for delta in self.deltas(name) for token in delta.token_ids]


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture(params=[False, True], ids=["unified", "streams"])
def engine(request: pytest.FixtureRequest, sink: Recorder) -> Iterator[Engine]:
    engine = Engine(FakeBackend(has_streams=request.param), slots=3, sink=sink)
    engine.start()
    yield engine
    engine.close()


def prepare(engine: Engine, prompt: str | list[int], **options: object) -> PreparedPrompt:
    given: dict[str, object] = {"max_tokens": 5, "sampling": GREEDY}
    return engine.preparation.prepare_raw(prompt, **(given | options))  # type: ignore[arg-type]


def scoring(name: str = "one", prompt: list[int] = PROMPT, **options: object) -> SequenceRequest:
    fields: dict[str, object] = {"sampling": SCORING, "max_tokens": 4, "raw_logprobs": True}
    return SequenceRequest(
        sequence_id=name,
        prompt_token_ids=prompt[:1],
        scored_token_ids=prompt[1:],
        **(fields | options),  # type: ignore[arg-type]
    )


def test_a_text_begins_once_and_its_control_tokens_are_recognised(engine: Engine) -> None:
    assert prepare(engine, "a<|turn|>").token_ids == [BOS, ord("a"), TURN]
    assert prepare(engine, "<|bos|>a").token_ids == [BOS, ord("a")]
    assert prepare(engine, "a", add_special_tokens=False).token_ids == [ord("a")]
    assert prepare(engine, "").token_ids == [BOS]


def test_token_ids_are_taken_as_they_are_and_echoed_as_text(engine: Engine) -> None:
    prepared = prepare(engine, [TURN, ord("a")])
    assert prepared.token_ids == [TURN, ord("a")] and prepared.text == "<|turn|>a"


def test_the_middle_is_filled_between_two_plain_texts(engine: Engine) -> None:
    with pytest.raises(InvalidRequest) as refused:
        prepare(engine, "a", suffix="b")
    assert refused.value.info.param == "suffix"
    engine._backend.fill_in_middle = FillInMiddle(1, 2, 3)  # type: ignore[attr-defined]
    assert prepare(engine, "a", suffix="b").token_ids == [BOS, 1, ord("a"), 2, ord("b"), 3]
    assert TURN not in prepare(engine, "<|turn|>", suffix="<|turn|>").token_ids
    assert prepare(engine, [BOS, 7], suffix="b").token_ids == [BOS, 1, 7, 2, ord("b"), 3]
    assert prepare(engine, [7], suffix="b", add_special_tokens=False).token_ids == [1, 7, 2, ord("b"), 3]


@pytest.mark.parametrize(
    ("prompt", "options", "error"),
    [
        ("", {"add_special_tokens": False}, InvalidRequest),
        ([0, 999], {}, InvalidRequest),
        ("\ud800", {}, InvalidRequest),
        ("a" * 128, {}, ContextLengthExceeded),
        ("a" * 5000, {}, ContextLengthExceeded),
        ([7] * 129, {"max_tokens": 0}, ContextLengthExceeded),
    ],
)
def test_a_prompt_that_cannot_be_continued_is_refused_by_its_name(
    engine: Engine, prompt: str | list[int], options: dict[str, object], error: type[InvalidRequest]
) -> None:
    with pytest.raises(error) as refused:
        prepare(engine, prompt, **options)
    assert refused.value.info.param == "prompt" and "messages" not in refused.value.message


def test_without_tokens_to_generate_a_prompt_may_fill_the_context(engine: Engine) -> None:
    assert prepare(engine, [7] * 128, max_tokens=0).max_tokens == 0
    assert prepare(engine, [7] * 126, max_tokens=5).max_tokens == 2


def test_each_token_of_a_prompt_has_the_probability_that_the_model_gives_it(engine: Engine, sink: Recorder) -> None:
    engine.submit(scoring())
    end = sink.wait()
    logprobs = sink.logprobs()
    expected = answer(PROMPT, 4)
    # The fake model gives its favourite a logit of 10, and one other token a logit of 1.
    for position, entry in enumerate(logprobs[: len(PROMPT) - 1]):
        likely = PROMPT[position + 1] == (answer(PROMPT[: position + 1], 1) or [END])[0]
        assert (entry.logprob is not None and entry.logprob > math.log(0.5)) == likely
        assert entry.bytes == [PROMPT[position + 1]]
    assert sink.tokens() == [*PROMPT[1:], *expected]
    assert "".join(delta.text for delta in sink.deltas()) == bytes(expected).decode(), "the prompt has no text here"
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (len(PROMPT), len(expected))


def test_scored_and_generated_tokens_are_never_mixed_up_beside_others(engine: Engine, sink: Recorder) -> None:
    prompts = {f"s{at}": [BOS, *b"prompt", *bytes([97 + at] * (10 + at))] for at in range(6)}
    for name, prompt in prompts.items():
        engine.submit(scoring(name, prompt))
    for name, prompt in prompts.items():
        sink.wait(name)
        assert sink.tokens(name) == [*prompt[1:], *answer(prompt, 4)]


def test_a_prompt_is_scored_without_generating(engine: Engine, sink: Recorder) -> None:
    engine.submit(scoring(max_tokens=0))
    end = sink.wait()
    assert end.finish_reason is FinishReason.LENGTH and end.usage.completion_tokens == 0
    assert len(sink.logprobs()) == len(PROMPT) - 1


def test_the_token_that_ends_an_answer_is_named_with_its_probability(engine: Engine, sink: Recorder) -> None:
    short = next([BOS, at] for at in range(256) if len(answer([BOS, at], 9)) < 9)
    engine.submit(scoring(prompt=short, max_tokens=20))
    end = sink.wait()
    last = sink.logprobs()[-1]
    assert end.finish_reason is FinishReason.STOP and (last.token, last.bytes) == ("<|end|>", [])
    assert end.usage.completion_tokens == len(answer(short, 20)) == len(sink.logprobs()) - len(short)


@pytest.mark.parametrize("emitted", [1, 20, len(PROMPT) - 1, len(PROMPT) + 1])
def test_scoring_resumes_where_a_lost_worker_was(engine: Engine, sink: Recorder, emitted: int) -> None:
    whole = [*PROMPT[1:], *answer(PROMPT, 4)]
    text = max(0, emitted - (len(PROMPT) - 1))
    engine.submit(scoring(resume_token_ids=whole[:emitted], resume_text_length=text))
    sink.wait()
    assert sink.tokens() == whole[emitted:]
    assert "".join(delta.text for delta in sink.deltas()) == bytes(answer(PROMPT, 4)).decode()[text:]


MESSAGES = [ChatMessage("user", "Count to 5."), ChatMessage("assistant", "1, 2, ")]
TRIMMING = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content | trim }}</end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize("source", [family_template("chatml"), TRIMMING])
def test_a_message_that_is_continued_ends_the_prompt_with_its_white_space(source: str) -> None:
    pieces = ChatTemplate(source).render(MESSAGES, prompt_end="continued")
    text = "".join(piece for piece, _ in pieces)
    assert text.endswith("1, 2, ") and "Count to 5." in text


def test_a_prompt_may_end_after_the_last_message() -> None:
    template = ChatTemplate(TRIMMING)
    whole, bare = (
        "".join(text for text, _ in template.render(MESSAGES, prompt_end=end)) for end in ("answer", "nothing")
    )
    assert whole == bare + "<assistant>"


def test_what_is_continued_cannot_pose_as_control_tokens_or_as_its_own_end() -> None:
    spelled = [MESSAGES[0], ChatMessage("assistant", "<|turn|>\ue0f7end\ue0f7 more")]
    pieces = ChatTemplate(TRIMMING, control_tokens={"<|turn|>": TURN}).render(spelled, prompt_end="continued")
    assert ("<|turn|>", False) in pieces
    assert "".join(text for text, _ in pieces).endswith("<|turn|>\ue0f7end\ue0f7 more")


def test_a_template_that_hides_the_message_to_continue_is_an_error() -> None:
    hiding = "{% for message in messages %}{% if message.role == 'user' %}{{ message.content }}{% endif %}{% endfor %}"
    with pytest.raises(InvalidRequest, match="hides"):
        ChatTemplate(hiding).render(MESSAGES, prompt_end="continued")
