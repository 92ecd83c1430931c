"""Asynchronous jobs, RAG answers, models, and the operational routes."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import msgspec
import pytest

from api.render import Answer
from api.routes import chat
from core import events
from core.catalog import Catalog, JobState
from core.errors import ErrorInfo, Unavailable
from core.messages import Filter, Usage
from tasks.jobs.queues import Role
from tasks.jobs.runner import ChoiceResult, JobResult
from tests.fakes.job_stream import FakeJobStream, Script
from tests.unit.api.conftest import EMBEDDER, HIT, MODEL, RERANKER, WEATHER, WORDS

pytestmark = pytest.mark.asyncio

ASYNC = [("prefer", "return=minimal"), ("prefer", "Respond-Async; wait=5")]
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "n": 2, "logprobs": True}),
    ("/v1/completions", {"prompt": "Hello"}),
    ("/v1/embeddings", {"input": ["a", "b"]}),
    ("/v1/embeddings", {"input": "a", "encoding_format": "base64"}),
    ("/v1/rerank", {"query": "a", "documents": ["a", "b"], "return_documents": True}),
    ("/v1/rag/chat", {"query": "How long is the warranty?"}),
    ("/v1/rag/search", {"query": "warranty"}),
]


def play_to_the_end(catalog: Catalog, stream: FakeJobStream) -> None:
    """Complete the asynchronous job that was submitted last, as a worker would."""
    job = stream.submitted[-1]
    answer = Answer()
    script: Script = stream.scripts[job.kind]
    stream.recorded[job.job_id] = []
    for number, event in enumerate(script(job.job_id, job.request, job.kind), 1):
        assert not hasattr(event, "wait")
        answer.add(event)
        stream.recorded[job.job_id].append((number, event))
    catalog.finish_job(job.job_id, JobState.COMPLETED, result=msgspec.json.encode(answer).decode())


def without_identity(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in ("id", "created")}


@pytest.mark.parametrize(("path", "body"), REQUESTS)
async def test_the_result_of_a_job_is_what_its_endpoint_answers(
    http: httpx.AsyncClient, catalog: Catalog, stream: FakeJobStream, path: str, body: dict[str, Any]
) -> None:
    plain = (await http.post(path, json=body)).json()
    accepted = await http.post(path, json=body, headers=ASYNC)
    location = accepted.headers["location"]
    waiting = (await http.get(location)).json()
    play_to_the_end(catalog, stream)
    finished = (await http.get(location)).json()

    assert accepted.status_code == 202
    assert accepted.headers["preference-applied"] == "respond-async"
    assert accepted.json() | {"position": 1} == waiting
    assert waiting["status"] == "queued" and waiting["result"] is None and waiting["endpoint"] == path
    assert stream.submitted[-1].durable
    assert finished["status"] == "completed" and finished["finished_at"] >= finished["created_at"]
    assert without_identity(finished["result"]) == without_identity(plain)


async def test_results_are_read_in_the_form_that_workers_write(http: httpx.AsyncClient, catalog: Catalog) -> None:
    job = await submit(http)
    choices = [ChoiceResult(text="Hi", finish_reason="stop"), ChoiceResult(1, "Ho", "length")]
    stored = msgspec.json.encode(JobResult(model=MODEL, choices=choices, usage=Usage(3, 2))).decode()
    catalog.finish_job(job["id"], JobState.COMPLETED, result=stored)

    result = (await http.get(f"/v1/jobs/{job['id']}")).json()["result"]
    assert [choice["message"]["content"] for choice in result["choices"]] == ["Hi", "Ho"]
    assert [choice["index"] for choice in result["choices"]] == [0, 1]
    assert result["usage"]["total_tokens"] == 5


async def submit(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.post(REQUESTS[0][0], json=REQUESTS[0][1], headers=ASYNC)
    job: dict[str, Any] = answer.json()
    return job


async def test_a_durable_job_is_accepted_without_redis(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    stream.failure = Unavailable("The queue (Redis) does not answer.")
    job = await submit(http)
    found = await http.get(f"/v1/jobs/{job['id']}")

    assert found.json()["status"] == "queued" and found.json()["position"] is None


async def test_jobs_are_listed_the_newest_first(http: httpx.AsyncClient, catalog: Catalog) -> None:
    jobs = [(await submit(http))["id"] for _ in range(3)]
    catalog.finish_job(jobs[0], JobState.FAILED, error=json.dumps({"message": "no", "type": "server_error"}))

    page = (await http.get("/v1/jobs", params={"limit": 2})).json()
    rest = (await http.get("/v1/jobs", params={"after": page["last_id"]})).json()
    failed = (await http.get("/v1/jobs", params={"status": "failed"})).json()

    assert [job["id"] for job in page["data"]] == [jobs[2], jobs[1]] and page["has_more"]
    assert [job["id"] for job in rest["data"]] == [jobs[0]]
    assert failed["data"][0]["error"] == {"message": "no", "type": "server_error", "param": None, "code": None}


async def test_a_job_can_be_cancelled_until_it_ends(
    http: httpx.AsyncClient, catalog: Catalog, stream: FakeJobStream
) -> None:
    job = await submit(http)
    cancelled = (await http.delete(f"/v1/jobs/{job['id']}")).json()
    again = (await http.delete(f"/v1/jobs/{job['id']}")).json()

    assert cancelled["status"] == "cancelled" and again == cancelled
    assert stream.cancelled == [job["id"]]
    assert not catalog.finish_job(job["id"], JobState.COMPLETED, result="{}")


def numbers(body: str) -> list[int]:
    return [int(line.removeprefix("id: ")) for line in body.splitlines() if line.startswith("id: ")]


async def test_events_are_replayed_and_can_be_resumed(
    http: httpx.AsyncClient, catalog: Catalog, stream: FakeJobStream
) -> None:
    job = await submit(http)
    stream.recorded[job["id"]] = [(1, events.Accepted(job_id=job["id"], attempt=1, model=MODEL))]
    live = await http.get(f"/v1/jobs/{job['id']}/events")
    play_to_the_end(catalog, stream)
    path = f"/v1/jobs/{job['id']}/events"
    whole = await http.get(path)
    rest = await http.get(path, headers={"last-event-id": "5"})
    nothing = await http.get(path, headers={"last-event-id": str(numbers(whole.text)[-1])})
    wrong = await http.get(path, headers={"last-event-id": "x"})

    assert numbers(live.text) == [1]
    assert numbers(whole.text) == list(range(1, len(stream.recorded[job["id"]]) + 1))
    assert numbers(rest.text) == numbers(whole.text)[5:]
    assert "event: finished" in rest.text
    assert nothing.status_code == 204 and wrong.status_code == 400


@pytest.mark.parametrize(
    ("state", "name"),
    [(JobState.COMPLETED, "finished"), (JobState.FAILED, "failed"), (JobState.CANCELLED, "cancelled")],
)
async def test_the_end_of_a_job_outlives_its_events(
    http: httpx.AsyncClient, catalog: Catalog, state: JobState, name: str
) -> None:
    job = await submit(http)
    error = json.dumps(ErrorInfo("no", "server_error").as_wire()) if state is JobState.FAILED else None
    catalog.finish_job(job["id"], state, result='{"model": "m"}' if state is JobState.COMPLETED else None, error=error)

    assert f"event: {name}\n" in (await http.get(f"/v1/jobs/{job['id']}/events")).text


async def test_a_rag_answer_names_its_sources(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    body = {"query": "How long is it?", "num_context_docs": 2, "max_tokens": 50, "collection": "default"}
    answer = (await http.post("/v1/rag/chat", json=body)).json()

    assert answer["answer"] == "".join(WORDS)
    assert answer["usage"]["total_tokens"] == 17
    source = answer["sources"][0]
    assert (source["index"], source["file"], source["filename"]) == (1, HIT.path, HIT.filename)
    assert (source["page"], source["section"], source["score"], source["text"]) == (2, "Warranty", 0.7, HIT.text)
    request = stream.submitted[0].request
    assert (request.max_tokens, request.rag.top_k, request.rag.collections) == (50, 2, ["default"])
    assert request.messages[-1].content == "How long is it?"


async def test_a_streamed_rag_answer_begins_with_its_sources(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/rag/chat", json={"query": "How long is it?", "stream": True})

    frames = [frame.removeprefix("data: ") for frame in answer.text.strip().split("\n\n")]
    first, *rest, done = frames
    assert done == "[DONE]"
    assert json.loads(first)["sources"][0]["document_id"] == HIT.document_id
    deltas = [json.loads(frame)["choices"][0]["delta"].get("content", "") for frame in rest]
    assert "".join(deltas) == "".join(WORDS)


async def test_a_search_passes_its_options_to_the_job(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    answer = (await http.post("/v1/rag/search", json={"query": "warranty", "top_k": 7, "collection": "c"})).json()

    assert answer["object"] == "list" and answer["data"][0]["text"] == HIT.text
    assert (stream.submitted[0].request.top_k, stream.submitted[0].request.collections) == (7, ["c"])


FILTERS = {
    "type": "and",
    "filters": [
        {"type": "in", "key": "shelf", "value": ["toys", 3, True]},
        {
            "type": "or",
            "filters": [{"type": "gte", "key": "year", "value": 2019}, {"type": "ne", "key": "b", "value": 1}],
        },
        {"type": "gte", "key": "date", "value": "2024-01-01"},
    ],
}


@pytest.mark.parametrize("path", ["/v1/rag/search", "/v1/rag/chat"])
async def test_filters_reach_the_search(http: httpx.AsyncClient, stream: FakeJobStream, path: str) -> None:
    answer = await http.post(path, json={"query": "warranty", "filters": FILTERS})

    assert answer.status_code == 200
    request = stream.submitted[0].request
    filters = (request if path.endswith("search") else request.rag).filters
    assert msgspec.json.decode(msgspec.json.encode(filters)) == FILTERS
    assert msgspec.convert(msgspec.to_builtins(filters), Filter) == filters


@pytest.mark.parametrize(
    ("filters", "param", "says"),
    [
        ({"type": "like", "key": "a", "value": "b"}, "filters.type", "'nin'"),
        ({"key": "a", "value": "b"}, "filters.type", "Missing"),
        ({"type": "eq", "value": "b"}, "filters.key", "Missing"),
        ({"type": "eq", "key": "a"}, "filters.value", "Missing"),
        ({"type": "eq", "key": "", "value": "b"}, "filters.key", "at least 1"),
        ({"type": "eq", "key": "a", "value": None}, "filters.value", "valid"),
        ({"type": "gt", "key": "a", "value": "2020"}, "filters.value", "number"),
        ({"type": "gt", "key": "a", "value": "soon"}, "filters.value", "is not a date; write 2024-01-31"),
        ({"type": "gt", "key": "a", "value": "2024-02-30"}, "filters.value", "is not a date"),
        ({"type": "eq", "key": "a", "value": ["b"]}, "filters.value", "use 'in'"),
        ({"type": "gt", "key": "path", "value": 1}, "filters.key", "only numbers"),
        ({"type": "lt", "key": 'a"b', "value": 1}, "filters.key", "quotation mark"),
        ({"type": "gte", "key": "a\\b", "value": 1}, "filters.key", "backslash"),
        ({"type": "in", "key": "a", "value": "b"}, "filters.value", "list"),
        ({"type": "in", "key": "a", "value": []}, "filters.value", "at least 1"),
        ({"type": "or", "filters": []}, "filters.filters", "at least 1"),
        ({"type": "and", "filters": [{"type": "eq", "key": "a"}]}, "filters.filters.0.value", "Missing"),
        ("shelf=toys", "filters", "dictionary"),
    ],
)
async def test_an_invalid_filter_is_named(http: httpx.AsyncClient, filters: Any, param: str, says: str) -> None:
    answer = await http.post("/v1/rag/search", json={"query": "warranty", "filters": filters})

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["param"] == param
    assert says in error["message"], error["message"]


async def test_filters_nested_too_deep_are_refused(http: httpx.AsyncClient) -> None:
    filters: dict[str, Any] = {"type": "eq", "key": "a", "value": 1}
    for _ in range(8):
        filters = {"type": "and", "filters": [filters]}
    answer = await http.post("/v1/rag/search", json={"query": "warranty", "filters": filters})

    assert answer.status_code == 400 and "nested more than 8" in answer.json()["error"]["message"]


async def test_too_many_values_of_a_filter_are_refused(http: httpx.AsyncClient) -> None:
    several = {"type": "in", "key": "a", "value": list(range(200))}
    filters = {"type": "or", "filters": [several] * 6}
    answer = await http.post("/v1/rag/search", json={"query": "warranty", "filters": filters})
    assert answer.status_code == 400 and "1200 values in all; 1024 are allowed" in answer.json()["error"]["message"]

    filters = {"type": "eq", "key": "a", "value": "x" * 5000}
    answer = await http.post("/v1/rag/search", json={"query": "warranty", "filters": filters})
    assert answer.status_code == 400 and "4096" in answer.json()["error"]["message"]


async def test_functions_are_those_of_the_live_workers(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    assert (await http.get("/v1/functions")).json()["data"] == [WEATHER]
    stream.live[Role.INFERENCE] = {}
    assert (await http.get("/v1/functions")).status_code == 503


async def test_readiness_names_unavailable_dependencies(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    ready = await http.get("/ready")
    stream.live[Role.INFERENCE]["inference@host"]["silent_seconds"] = 100.0
    hanging = await http.get("/ready")
    stream.live[Role.INGEST] = {}
    missing = await http.get("/ready")
    stream.failure = Unavailable("The queue (Redis) does not answer.")
    away = await http.get("/ready")

    assert ready.status_code == 200 and set(ready.json()["checks"].values()) == {"ok"}
    assert hanging.status_code == 503 and hanging.json()["checks"]["inference_worker"] == "unavailable"
    assert missing.status_code == 503 and missing.json()["checks"]["ingest_worker"] == "unavailable"
    assert away.json()["checks"]["redis"] == "unavailable" and away.json()["checks"]["catalog"] == "ok"
    assert (await http.get("/health")).status_code == 200


async def test_the_openapi_document_has_every_route(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()

    assert {path for path, _ in REQUESTS} <= set(document["paths"])
    assert "422" not in json.dumps(document)


async def test_the_documentation_page_loads_nothing_from_elsewhere(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert links and all(link.startswith("/") for link in links)
    assert [(await http.get(link)).status_code for link in links] == [200] * len(links)


async def test_models_are_those_of_the_live_workers(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    stream.live[Role.INFERENCE] = {}

    assert [model["id"] for model in (await http.get("/v1/models")).json()["data"]] == [EMBEDDER, RERANKER]


CHAT = "/v1/chat/completions"
QUESTION = [{"role": "user", "content": "How long is it?"}]


async def test_a_model_at_a_collection_answers_from_its_documents(
    http: httpx.AsyncClient, stream: FakeJobStream, catalog: Catalog
) -> None:
    catalog.ensure_collection("manuals")
    for model in (f"{MODEL}@manuals", "gpt-4o@manuals"):
        answer = await http.post(CHAT, json={"model": model, "messages": QUESTION, "stream": True})
        frames = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        assert frames[0]["sources"][0]["filename"] == "warranty.docx", "before the first text"
        job = stream.submitted.pop()
        assert job.kind == "rag_chat"
        assert (job.request.rag.query, job.request.rag.collections) == ("How long is it?", ["manuals"])


async def test_a_raw_completion_answers_from_no_collection(http: httpx.AsyncClient, catalog: Catalog) -> None:
    catalog.ensure_collection("manuals")
    refused = await http.post("/v1/completions", json={"model": f"{MODEL}@manuals", "prompt": "How long is it?"})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "model"


@pytest.mark.parametrize("model", ["claude@20240620", "@manuals", f"{MODEL}", "a@b@c"])
async def test_other_names_with_an_at_are_names_of_models(
    http: httpx.AsyncClient, stream: FakeJobStream, catalog: Catalog, model: str
) -> None:
    catalog.ensure_collection("manuals")
    assert (await http.post(CHAT, json={"model": model, "messages": QUESTION})).status_code == 200
    assert (stream.submitted[0].kind, stream.submitted[0].request.rag) == ("chat", None)


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"model": f"{MODEL}@nothing"}, "model", "no collection named 'nothing'"),
        ({"model": f"{MODEL}@manuals", "rag": {"collection": "other"}}, "rag.collection", "'manuals'"),
        ({"model": "any", "rag": {"filters": {"type": "like"}}}, "rag.filters.type", "'eq'"),
    ],
)
async def test_an_invalid_collection_of_a_chat_is_named(
    http: httpx.AsyncClient, catalog: Catalog, body: dict[str, Any], param: str, says: str
) -> None:
    catalog.ensure_collection("manuals")
    answer = await http.post(CHAT, json={"messages": QUESTION, **body})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert says in error["message"]


async def test_the_rag_of_a_chat_has_the_options_of_a_search(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    rag = {"collections": ["a", "b"], "top_k": 4, "filters": FILTERS, "diversity": 0.5, "neighbours": 1}
    assert (await http.post(CHAT, json={"messages": QUESTION, "rag": rag})).status_code == 200
    options = stream.submitted[0].request.rag
    assert (options.collections, options.top_k, options.diversity, options.neighbours) == (["a", "b"], 4, 0.5, 1)
    assert msgspec.json.decode(msgspec.json.encode(options.filters)) == FILTERS


async def test_models_are_listed_with_each_collection(http: httpx.AsyncClient, catalog: Catalog) -> None:
    catalog.ensure_collection("manuals")
    listed = (await http.get("/v1/models")).json()["data"]
    assert [model["id"] for model in listed] == [MODEL, f"{MODEL}@manuals", EMBEDDER, RERANKER]
    one = (await http.get(f"/v1/models/{MODEL}@manuals")).json()
    assert (one["kind"], one["collection"]) == ("chat", "manuals")


async def test_only_the_beginning_of_a_long_question_is_searched_for(
    http: httpx.AsyncClient, stream: FakeJobStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "MAX_QUERY_CHARACTERS", 10)
    body = {"messages": [{"role": "user", "content": "How long is the warranty?"}], "rag": {}}
    assert (await http.post(CHAT, json=body)).status_code == 200
    request = stream.submitted[-1].request
    assert (request.rag.query, request.messages[-1].content) == ("How long i", "How long is the warranty?")
