"""Raw completions, tokens, and answers that the client begins, with the real engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from core import events
from core.catalog import Catalog
from core.messages import ChatMessage, DetokenizeRequest, SamplingParams, TokenizeRequest, TokenLogprob
from core.settings import load_settings
from inference.engine.model_files import resolve_model
from tasks.jobs.kinds import DETOKENIZE, TOKENIZE
from tasks.jobs.producer import Producer
from tests.gguf_files import CONTROL, changed_copy
from tests.integration.tasks.generating import GREEDY, World, fields_of, reasons_of, refusal_of, text_of

COUNTING = "1, 2, 3, 4, 5,"
SCORING = SamplingParams(temperature=0, logprobs=True, top_logprobs=2)


def usage_of(emitted: Sequence[events.AnyEvent]) -> tuple[int, int]:
    last = emitted[-1]
    assert isinstance(last, events.Finished), last
    return last.usage.prompt_tokens, last.usage.completion_tokens


def logprobs_of(emitted: Sequence[events.AnyEvent]) -> list[TokenLogprob]:
    return [entry for event in emitted if isinstance(event, events.TextDelta) for entry in event.logprobs]


def tokens_of(world: World, text: str, **fields: Any) -> list[int]:
    found: list[int] = world.result_of_tokens(TOKENIZE, TokenizeRequest(text, **fields))["tokens"]
    return found


def test_a_prompt_is_continued_as_it_is(world: World) -> None:
    emitted = world.complete(COUNTING)
    assert text_of(emitted).lstrip().startswith("6") and reasons_of(emitted) == ["length"]
    assert usage_of(emitted) == (len(tokens_of(world, COUNTING)), 12)


def test_several_prompts_and_choices_are_indexed_by_prompt(world: World) -> None:
    prompts = [COUNTING, "The capital of France is", tokens_of(world, COUNTING)] * 2
    emitted = world.complete(*prompts, n=2, max_tokens=6)
    texts = [text_of(emitted, index) for index in range(12)]
    assert reasons_of(emitted) == ["length"] * 12
    assert texts[0].lstrip().startswith("6") and "Paris" in texts[2]
    assert texts[0] == texts[1] == texts[4], "token ids are continued as their text is"


def test_an_echoed_prompt_is_scored_as_it_was_when_it_was_generated(world: World) -> None:
    plain = world.complete(COUNTING, sampling=SCORING)
    generated = logprobs_of(plain)
    whole = COUNTING + text_of(plain)
    emitted = world.complete(whole, sampling=SCORING, echo=True, max_tokens=0)
    scored = logprobs_of(emitted)

    assert text_of(emitted) == whole and reasons_of(emitted) == ["length"]
    assert scored[0].logprob is None and all(entry.logprob is not None for entry in scored[1:])
    assert [entry.token for entry in scored[-12:]] == [entry.token for entry in generated]
    # Computed with other rows beside them, the numbers differ in their last digits.
    for found, expected in zip(scored[-12:], generated, strict=True):
        assert found.logprob == pytest.approx(expected.logprob, abs=0.05)
    assert usage_of(emitted) == (len(scored), 0)


@pytest.mark.parametrize("sampling", [GREEDY, SCORING], ids=["plain", "scoring"])
@pytest.mark.parametrize("taken", [1, pytest.param(3, marks=pytest.mark.check)])
def test_a_lost_worker_costs_nothing_of_the_answer(world: World, sampling: SamplingParams, taken: int) -> None:
    fields = {"sampling": sampling, "echo": True, "n": 2, "max_tokens": 16}
    whole = world.complete(COUNTING, "Once upon a time", **fields)
    texts = [event for event in whole if isinstance(event, events.TextDelta)][: 4 + taken]
    replayed = [(events.TextDelta, fields_of(event)) for event in texts]
    resumed = world.resume_job(world.submit_completion(COUNTING, "Once upon a time", **fields), replayed)

    assert [text_of(resumed, index) for index in range(4)] == [text_of(whole, index) for index in range(4)]
    assert usage_of(resumed) == usage_of(whole) and reasons_of(resumed) == reasons_of(whole)
    assert sorted(entry.token for entry in logprobs_of(resumed)) == sorted(entry.token for entry in logprobs_of(whole))


@pytest.mark.parametrize(
    ("prompts", "fields", "param"),
    [
        ([COUNTING], {"suffix": " 7"}, "suffix"),
        (["word " * 4000], {}, "prompt"),
        (["a", "word " * 4000], {}, "prompt"),
        (["a", [10**6]], {}, "prompt.1"),
        ([""], {}, "prompt"),
        (["a"], {"sampling": SamplingParams(logit_bias={10**6: 1.0})}, "logit_bias"),
    ],
)
def test_what_cannot_be_continued_is_refused_by_its_name(
    world: World, prompts: list[Any], fields: dict[str, Any], param: str
) -> None:
    assert refusal_of(world.complete(*prompts, **fields))[0] == param


def test_an_answer_has_its_format_after_the_echo(world: World) -> None:
    emitted = world.complete("Yes or no? ", echo=True, answer_pattern="yes|no", format_param="guided_regex")
    assert text_of(emitted) in ("Yes or no? yes", "Yes or no? no") and reasons_of(emitted) == ["stop"]


def test_tokens_become_their_text_again(world: World) -> None:
    text = "<|im_start|>Grüße 🙂"
    found = world.result_of_tokens(TOKENIZE, TokenizeRequest(text, token_texts=True))
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"]) and found["max_model_len"] == 2048
    assert found["token_strs"][0] == "<|im_start|>"
    assert world.result_of_tokens(DETOKENIZE, DetokenizeRequest(found["tokens"])) == {"prompt": text}
    plain = tokens_of(world, text, parse_special=False)
    assert len(plain) > found["count"] and found["tokens"][0] not in plain
    assert world.result_of_tokens(DETOKENIZE, DetokenizeRequest([])) == {"prompt": ""}


def test_a_text_that_exceeds_the_context_has_tokens_too(world: World) -> None:
    assert len(tokens_of(world, "word " * 10_000)) > 2048


def test_the_tokens_of_a_chat_are_those_that_its_answer_counts(world: World) -> None:
    messages = [ChatMessage("user", "Count to 9."), ChatMessage("assistant", COUNTING)]
    for end in ("answer", "continued"):
        request = TokenizeRequest(messages=messages, prompt_end=end)  # type: ignore[arg-type]
        emitted = world.run(messages=messages, prompt_end=end, max_tokens=4)
        assert usage_of(emitted)[0] == world.result_of_tokens(TOKENIZE, request)["count"]


def test_an_answer_that_the_client_begins_is_continued(world: World) -> None:
    messages = [ChatMessage("user", "Count to 9."), ChatMessage("assistant", COUNTING)]
    assert text_of(world.run(messages=messages, prompt_end="continued", max_tokens=6)).lstrip().startswith("6")


@pytest.fixture
def filling(redis_url: str, tmp_path: Path, catalog: Catalog, producer: Producer) -> Iterator[World]:
    """Start a world with a model whose vocabulary has tokens for filling in the middle."""
    starter = resolve_model(load_settings(_env_file=None)).path
    renamed = {
        "<gh_stars>": ("<|fim_prefix|>", CONTROL),
        "<reponame>": ("<|fim_suffix|>", CONTROL),
        "<filename>": ("<|fim_middle|>", CONTROL),
    }
    path = changed_copy(starter, tmp_path / "filling.gguf", "{{ messages[0].content }}", renamed)
    world = World(producer, catalog, tmp_path, path)
    yield world
    world.close()


@pytest.mark.check
def test_the_middle_is_filled_between_prompt_and_suffix(filling: World) -> None:
    around = tokens_of(filling, "<|fim_prefix|><|fim_suffix|><|fim_middle|>")
    assert len(around) == 3
    prompt, suffix = "def f(<|im_start|>a):\n", "\n    return b"
    emitted = filling.complete(prompt, suffix=suffix)
    plain = [tokens_of(filling, text, parse_special=False, add_special_tokens=False) for text in (prompt, suffix)]
    expected = filling.complete([around[0], *plain[0], around[1], *plain[1], around[2]])
    assert text_of(emitted) == text_of(expected) and usage_of(emitted) == usage_of(expected)
