"""Models of the size that people run, with random weights: their context, memory and steps."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.messages import SamplingParams
from core.settings import Settings, load_settings
from inference.engine import model_files
from inference.engine.engine import Engine
from inference.engine.llama_backend import backend as llama_backend
from inference.engine.model_files import resolve_model, weights_bytes
from inference.engine.opening import open_engine
from inference.engine.sequence import SequenceDelta, SequenceEvent, SequenceFinished, SequenceRequest
from inference.engine.watchdog import Watchdog
from tests.gguf_files import SHAPE_1B, SHAPE_7B, Shape, random_model
from tests.support import wait_until

ENDLESS = SamplingParams(temperature=0, ignore_eos=True)
#: A step of a 7B model takes about half a second on two cores, and a token of a prompt a tenth of it.
DEADLINE_SECONDS = 900


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(SHAPE_1B, marks=pytest.mark.check, id="1B"),
        pytest.param(SHAPE_7B, marks=pytest.mark.soak, id="7B"),
    ],
)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Shape]]:
    starter = resolve_model(load_settings(_env_file=None)).path
    path = random_model(starter, tmp_path_factory.mktemp("large") / "large.Q4_0.gguf", request.param)
    yield path, request.param
    path.unlink()


def settings_for(path: Path, folder: Path, **options: object) -> Settings:
    return load_settings(_env_file=None, model_path=path, data_dir=folder, **options)


class Recorder:
    def __init__(self) -> None:
        self.events: list[SequenceEvent] = []

    def __call__(self, events: Sequence[SequenceEvent]) -> None:
        self.events.extend(events)

    def tokens(self, name: str) -> int:
        mine = [event for event in list(self.events) if event.sequence_id == name]
        return sum(len(event.token_ids) for event in mine if isinstance(event, SequenceDelta))

    def has_finished(self, name: str) -> bool:
        return any(isinstance(event, SequenceFinished) and event.sequence_id == name for event in list(self.events))


def test_a_large_model_serves_several_requests(
    model: tuple[Path, Shape], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, shape = model
    recorder, hangs = Recorder(), list[float]()
    with caplog.at_level(logging.INFO):
        engine = open_engine(settings_for(path, tmp_path), recorder)
    watchdog = Watchdog(engine, hangs.append)
    watchdog.start()
    try:
        # Then its context, slots and memory are said at the start, and are those that are used
        said = next(record.getMessage() for record in caplog.records if "slots" in record.getMessage())
        length, slots, cells, megabytes = (
            int(number.replace(",", ""))
            for number in re.findall(r"of (\d+) tokens .*?; (\d+) slots.* of (\d+) tokens \(.*, (\d+) MB\)", said)[0]
        )
        stats = engine.stats()
        assert (length, slots, cells) == (engine.model.context_length, stats.slots, stats.kv_total)
        head = shape.width // shape.heads
        assert megabytes == round(cells * shape.layers * shape.kv_heads * 2 * head * 2 / 1e6)
        serve(engine, recorder)
    finally:
        watchdog.close()
        engine.close()
    assert not hangs


def serve(engine: Engine, recorder: Recorder) -> None:
    """Decode two answers, and beside them a prompt that takes several steps."""
    for name in ("first", "second"):
        prompt = [100 + ord(name[0])] * 8
        engine.submit(SequenceRequest(sequence_id=name, prompt_token_ids=prompt, sampling=ENDLESS, max_tokens=24))
    wait_until(lambda: recorder.tokens("second") > 1, DEADLINE_SECONDS)
    prompt = [200 + at % 1000 for at in range(64)]
    engine.submit(SequenceRequest(sequence_id="long", prompt_token_ids=prompt, sampling=ENDLESS, max_tokens=2))
    names = ("first", "second", "long")
    wait_until(lambda: all(recorder.has_finished(name) for name in names), DEADLINE_SECONDS)
    assert [recorder.tokens(name) for name in names] == [24, 24, 2]


def test_a_context_that_does_not_fit_is_refused(
    model: tuple[Path, Shape], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = model
    # Given a machine whose memory is full once the model is loaded
    monkeypatch.setattr(llama_backend, "available_memory_bytes", lambda: weights_bytes(path) + 2**20)
    # Then it does not start, and says how much is missing
    with pytest.raises(ConfigurationError, match=r"needs \d+ MiB and there is room for 0 MiB"):
        open_engine(settings_for(path, tmp_path), Recorder())
    # And with less memory than the file has, the model is not loaded at all
    monkeypatch.setattr(model_files, "memory_limit_bytes", lambda: weights_bytes(path))
    with pytest.raises(ConfigurationError, match="needs about .* GiB of memory"):
        open_engine(settings_for(path, tmp_path), Recorder())
