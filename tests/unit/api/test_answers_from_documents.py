"""What answers from documents say of themselves, which passages they are given, and evaluations of the search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from core import events
from core.messages import Grounding
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import HIT, MODEL

pytestmark = pytest.mark.asyncio


async def test_answers_from_documents_say_whether_these_hold_them(
    http: httpx.AsyncClient, stream: FakeJobStream
) -> None:
    grounding = Grounding(words=["weigh"], sentences=["It weighs 3 kg."])

    def script(job_id: str, _request: Any, _key: str) -> Iterator[events.AnyEvent]:
        at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
        yield events.Retrieved(**at, hits=[HIT])
        yield events.Accepted(**at, model=MODEL)
        yield events.TextDelta(**at, text="It weighs 3 kg.")
        yield events.ChoiceFinished(**at, finish_reason="stop", grounding=grounding)
        yield events.Finished(**at, model=MODEL)

    stream.scripts["rag_chat"] = script
    missing = {"question": ["weigh"], "answer": ["It weighs 3 kg."]}
    plain = (await http.post("/v1/rag/chat", json={"query": "How heavy?"})).json()
    assert (plain["grounded"], plain["missing"]) == (False, missing)
    chat = {"messages": [{"role": "user", "content": "How heavy?"}], "rag": {}}
    choice = (await http.post("/v1/chat/completions", json=chat)).json()["choices"][0]
    assert (choice["grounded"], choice["missing"]) == (False, missing)
    grounding = Grounding()
    streamed = await http.post("/v1/rag/chat", json={"query": "How heavy?", "stream": True})
    ends = [json.loads(frame.removeprefix("data: ")) for frame in streamed.text.strip().split("\n\n")[:-1]]
    assert ends[-1]["choices"][0]["grounded"] is True and "missing" not in ends[-1]["choices"][0]


async def test_passages_far_below_the_best_are_left_out_unless_a_number_is_asked_for(
    http: httpx.AsyncClient, stream: FakeJobStream
) -> None:
    chat = {"messages": [{"role": "user", "content": "How heavy?"}]}
    for path, body in [
        ("/v1/rag/chat", {"query": "q"}),
        ("/v1/rag/chat", {"query": "q", "num_context_docs": 4}),
        ("/v1/chat/completions", {**chat, "rag": {}}),
        ("/v1/chat/completions", {**chat, "rag": {"top_k": 4}}),
    ]:
        assert (await http.post(path, json=body)).status_code == 200
    assert [one.request.rag.least_share for one in stream.submitted] == [0.5, 0.0, 0.5, 0.0]


async def test_an_evaluation_is_always_a_job(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    questions = [{"question": "Where?", "files": ["a.txt"]}, {"question": "When?", "passages": ["noon"]}]
    answer = await http.post("/v1/rag/evaluations", json={"questions": questions, "settings": [{"collection": "c"}]})
    assert answer.status_code == 202 and answer.json()["kind"] == "evaluation"
    request = stream.submitted[0].request
    assert [one.question for one in request.questions] == ["Where?", "When?"]
    assert [(one.name, one.top_k, one.collections) for one in request.settings] == [("default", 3, ["c"])]
    for wrong in (
        {"questions": []},
        {"questions": [{"question": "a"}]},
        {"questions": questions, "settings": [{"name": "a"}, {"name": "a"}]},
        {"questions": questions * 501},
        {"questions": questions, "settings": [{"name": str(n)} for n in range(9)]},
    ):
        assert (await http.post("/v1/rag/evaluations", json=wrong)).status_code == 400
