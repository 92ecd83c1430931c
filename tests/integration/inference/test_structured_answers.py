"""The starter model answers with JSON that fits real schemas, and completes it before its tokens run out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest

from core.messages import ChatMessage, SamplingParams
from core.settings import load_settings
from inference.engine.engine import Engine
from inference.engine.opening import open_engine
from inference.engine.sequence import (
    FinishReason,
    SequenceAborted,
    SequenceDelta,
    SequenceEvent,
    SequenceFailed,
    SequenceFinished,
    SequenceRequest,
)
from tests.schema_collection import Schema, collection

MAX_TOKENS = 512
#: The share of all answers that may be cut off.
MOST_CUT = 0.05
CASES = [(name, schema) for name, schema, refused in collection() if refused is None]


class Model:
    """The engine as a function from a schema to an answer."""

    def __init__(self, folder: Path) -> None:
        settings = load_settings(_env_file=None, data_dir=folder, inference_slots=8, context_length=1024)
        self._answers: dict[str, tuple[list[str], Future[tuple[str, FinishReason]]]] = {}
        self.engine: Engine = open_engine(settings, self._hear)

    def _hear(self, events: Sequence[SequenceEvent]) -> None:
        for event in events:
            pieces, answer = self._answers[event.sequence_id]
            if isinstance(event, SequenceDelta):
                pieces.append(event.text)
            elif isinstance(event, SequenceFinished):
                answer.set_result(("".join(pieces), event.finish_reason))
            elif isinstance(event, SequenceFailed | SequenceAborted):
                answer.set_exception(AssertionError(f"{event}"))

    def answer(self, name: str, schema: Schema, max_tokens: int = MAX_TOKENS) -> tuple[str, FinishReason]:
        """Return an answer's text and finish reason. The seed depends on the name, so that faults are repeatable."""
        prompt = self.engine.prepare([ChatMessage("user", f"Write an example of a {name.replace('-', ' ')} as JSON.")])
        constraint = self.engine.grammars.json_schema(schema, max_tokens=max_tokens)
        answer: Future[tuple[str, FinishReason]] = Future()
        key = f"{name}/{max_tokens}"
        self._answers[key] = ([], answer)
        self.engine.submit(
            SequenceRequest(
                sequence_id=key,
                prompt_token_ids=prompt.token_ids,
                sampling=SamplingParams(temperature=0.7, seed=sum(key.encode())),
                max_tokens=max_tokens,
                constraint=constraint,
            )
        )
        return answer.result(600)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    model = Model(tmp_path_factory.mktemp("model"))
    yield model
    model.engine.close()


def answer_all(model: Model, cases: Sequence[tuple[str, Schema]], max_tokens: int = MAX_TOKENS) -> list[str]:
    """Answer all cases, check each answer that was not cut off, and return the names of those that were."""
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda case: model.answer(*case, max_tokens), cases))
    cut = []
    for (name, schema), (text, reason) in zip(cases, answers, strict=True):
        if reason is FinishReason.LENGTH:
            cut.append(name)
            continue
        check(name, schema, text)
    return cut


def check(name: str, schema: Schema, text: str) -> None:
    # Parsed as decimals, because in binary 10.2 is not a multiple of 0.01.
    schema, answer = json.loads(json.dumps(schema), parse_float=Decimal), json.loads(text, parse_float=Decimal)
    kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    problems = [error.message for error in kind(schema, format_checker=kind.FORMAT_CHECKER).iter_errors(answer)]
    assert not problems, f"{name}: {problems[0]}\n{text}"


@pytest.mark.check
@pytest.mark.model
def test_a_sample_of_real_schemas_is_answered_with_json_that_fits(model: Model) -> None:
    sample = CASES[:: len(CASES) // 20][:20]
    cut = answer_all(model, sample, 256)
    assert len(cut) <= MOST_CUT * len(sample), cut


@pytest.mark.model
@pytest.mark.parametrize(
    ("schema", "max_tokens"),
    [
        ({"type": "object", "properties": {"story": {"type": "string"}}, "required": ["story"]}, 48),
        ({"type": "array", "items": {"type": "string"}}, 48),
        ({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "number"}}}, 48),
        ({"type": "object"}, 48),
    ],
)
def test_json_that_could_go_on_for_ever_is_completed(model: Model, schema: Schema, max_tokens: int) -> None:
    text, reason = model.answer(f"very long and detailed list of {max_tokens} things", schema, max_tokens)
    assert reason is FinishReason.STOP
    check("", schema, text)


@pytest.mark.model
def test_an_answer_that_cannot_fit_is_cut_off_with_its_finish_reason(model: Model) -> None:
    keys = [f"a_rather_long_name_of_a_property_{number}" for number in range(20)]
    schema = {"type": "object", "properties": {key: {"type": "string"} for key in keys}, "required": keys}
    _, reason = model.answer("record", schema, 40)
    assert reason is FinishReason.LENGTH


@pytest.mark.soak
@pytest.mark.model
def test_all_real_schemas_are_answered_with_json_that_fits(model: Model) -> None:
    cut = answer_all(model, CASES)
    assert len(cut) <= MOST_CUT * len(CASES), cut
