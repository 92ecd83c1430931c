"""The main use: drop a file, ask about it, watch the workers in Flower."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import psutil
import pytest

from core.threads import PREPARING_NICE
from tests.e2e.documents import documents, settled, write_docx, write_pdf
from tests.support import Stack, wait_until
from tests.unit.ingest.cases import PARSED, REJECTED

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WARRANTY = "The warranty of the Aurora coffee machine lasts four years and covers the pump and the motor."


def test_an_answer_uses_a_dropped_file_and_names_it(stack: Stack, http: httpx.Client) -> None:
    write_docx(stack.inbox / "warranty.docx", WARRANTY, "Returns are accepted within sixty days of purchase.")
    assert settled(http, "warranty.docx")["status"] == "completed"
    answer = http.post("/v1/rag/chat", json={"query": "How long is the warranty of the coffee machine?"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["answer"].strip()
    source = body["sources"][0]
    assert source["filename"] == "warranty.docx" and "four years" in source["text"]
    assert body["usage"]["prompt_tokens"] > 20 and body["usage"]["completion_tokens"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a nice value for each thread")
def test_what_parses_and_embeds_in_bulk_has_a_low_priority(stack: Stack) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    parsers = psutil.Process(stack.pid_of("ingest")).children()
    assert parsers and {one.nice() for one in parsers} == {19}
    index = [thread.id for thread in psutil.Process(stack.pid_of("index")).threads()]
    nice = [os.getpriority(os.PRIO_PROCESS, thread) for thread in index]
    assert set(nice) == {own, 19}, "bulk embedding sinks, and nothing else"
    inference = psutil.Process(stack.pid_of("inference"))
    assert inference.nice() == own
    nice = [os.getpriority(os.PRIO_PROCESS, thread.id) for thread in inference.threads()]
    assert own + PREPARING_NICE in nice, "the threads of tasks let the engine's go first"


def test_streamed_rag_chat_sends_sources_before_text(stack: Stack, http: httpx.Client) -> None:
    (stack.inbox / "tea.txt").write_text("Green tea is steeped for two minutes at eighty degrees.")
    settled(http, "tea.txt")
    request = {"query": "How long is green tea steeped?", "stream": True, "max_tokens": 16}
    with http.stream("POST", "/v1/rag/chat", json=request) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        frames = [line[6:] for line in response.iter_lines() if line.startswith("data: ")]
    assert frames[-1] == "[DONE]"
    first = json.loads(frames[0])
    assert first["sources"][0]["filename"] == "tea.txt"


def test_a_follow_up_question_finds_the_documents_of_the_conversation(http: httpx.Client) -> None:
    texts = ["The Marlow kettle boils a litre in two minutes.", "The Sable toaster has room for six slices."]
    metadata = [{"shelf": "kettles", "year": 2021}, {"shelf": "toasters", "year": 2024}]
    assert http.post("/v1/rag/documents", json={"texts": texts, "metadata": metadata}).status_code in (200, 201)
    history = [
        {"role": "user", "content": "Tell me about the Marlow kettle."},
        {"role": "assistant", "content": "The Marlow kettle boils water."},
    ]
    request = {"query": "How long does it take to boil a litre?", "messages": history, "max_tokens": 24}
    body = http.post("/v1/rag/chat", json=request).json()
    assert body["sources"][0]["text"] == texts[0]
    markers = {int(number) for number in re.findall(r"\[(\d+)\]", body["answer"])}
    assert markers <= {source["index"] for source in body["sources"]}
    filters = {"type": "and", "filters": [{"type": "gt", "key": "year", "value": 2022}]}
    other = http.post("/v1/rag/chat", json=request | {"filters": filters, "score_threshold": -1}).json()
    assert [source["text"] for source in other["sources"]] == [texts[1]]
    nothing = http.post("/v1/rag/chat", json={"query": "qwxz zzkv", "score_threshold": 1, "stream": False}).json()
    assert nothing["sources"] == [] and "could not find" in nothing["answer"]


def test_search_follows_a_changed_and_a_removed_file(stack: Stack, http: httpx.Client) -> None:
    path = stack.inbox / "changing.txt"
    path.write_text("The office key is kept under the blue flowerpot.")
    document = settled(http, "changing.txt")

    def texts() -> list[str]:
        found = http.post("/v1/rag/search", json={"query": "Where is the office key kept?", "top_k": 5}).json()
        return [hit["text"] for hit in found["data"] if hit["filename"] == "changing.txt"]

    assert any("blue flowerpot" in text for text in texts())
    path.write_text("The office key is kept inside the red letterbox.")
    wait_until(lambda: any("red letterbox" in text for text in texts()), 20)
    assert not any("blue flowerpot" in text for text in texts())
    path.unlink()
    wait_until(lambda: not texts(), 20)
    wait_until(lambda: http.get(f"/v1/rag/documents/{document['id']}").status_code == 404, 20)


def test_pdf_pages_are_cited(stack: Stack, http: httpx.Client) -> None:
    write_pdf(stack.inbox / "manual.pdf", "Chapter one is about safety.", "The descaling cycle takes thirty minutes.")
    assert settled(http, "manual.pdf")["status"] == "completed"
    hits = http.post("/v1/rag/search", json={"query": "How long does descaling take?"}).json()["data"]
    hit = next(hit for hit in hits if hit["filename"] == "manual.pdf" and "descaling" in hit["text"])
    assert (hit["page"], hit["last_page"]) == (1, 2)


def test_bad_files_fail_with_a_reason_and_others_are_indexed(stack: Stack, http: httpx.Client) -> None:
    inbox = stack.inbox
    (inbox / "empty.txt").write_bytes(b"")
    (inbox / "program.bin").write_bytes(bytes(range(256)) * 64)
    (inbox / "broken.pdf").write_bytes(b"%PDF-1.7 this is not one")
    write_pdf(inbox / "locked.pdf", "secret", password="owner")
    (inbox / "huge.txt").write_bytes(b"word " * (stack.max_upload_bytes // 5 + 10))
    (inbox / "fine.md").write_text("# Notes\n\nThe meeting room is called Neptune.")
    assert settled(http, "fine.md")["status"] == "completed"
    for name, reason in {
        "empty.txt": "empty",
        "program.bin": "type",
        "broken.pdf": "",
        "locked.pdf": "encrypted",
        "huge.txt": "MAX_UPLOAD_BYTES",
    }.items():
        document = settled(http, name)
        assert document["status"] == "failed", name
        assert document["error"] and reason in str(document["error"]), (name, document["error"])


def test_files_of_every_type_are_searchable_or_fail_with_a_reason(stack: Stack, http: httpx.Client) -> None:
    # Given a file of each type in a folder that is moved in at once
    made = stack.inbox.parent / "types"
    made.mkdir()
    contents = {file.name: file.make() for file in PARSED} | {name: make() for name, make, _ in REJECTED}
    for name, content in contents.items():
        (made / name).write_bytes(content)
    made.rename(stack.inbox / "types")
    # When all of them have been read
    found: dict[str, dict[str, Any]] = {}

    def all_settled() -> bool:
        inside = (each for each in documents(http) if str(each["path"]).startswith("types/"))
        found.update({each["filename"]: each for each in inside if each["status"] in ("completed", "failed")})
        return len(found) == len(contents)

    wait_until(all_settled, 120)
    # Then each has its text, or the reason
    for file in PARSED:
        assert found[file.name]["status"] == "completed", found[file.name]
        only = {"type": "eq", "key": "path", "value": f"types/{file.name}"}
        hits = http.post("/v1/rag/search", json={"query": file.texts[0], "filters": only, "top_k": 20}).json()["data"]
        assert any(file.texts[0] in hit["text"] for hit in hits), file.name
    assert found["mail.eml"]["properties"]["from"] == "Jörg <joerg@example.com>"
    for name, _, reason in REJECTED:
        assert found[name]["status"] == "failed" and reason in str(found[name]["error"]), found[name]


def test_upload_and_texts_are_searchable_and_deletable(http: httpx.Client, tmp_path: Path) -> None:
    posted = http.post(
        "/v1/rag/documents",
        json={"texts": ["The Zephyr kite flies best in light wind."], "metadata": [{"shelf": "toys"}]},
    )
    assert posted.status_code in (200, 201), posted.text
    hits = http.post("/v1/rag/search", json={"query": "Zephyr kite wind"}).json()["data"]
    assert "Zephyr" in hits[0]["text"], "posted texts are searchable once the post is answered"
    files = [
        ("files", ("one.txt", b"Tulips are planted in October.", "text/plain")),
        ("files", ("two.csv", b"plant,month\nrose,March\n", "text/csv")),
    ]
    uploaded = http.post("/v1/rag/documents/upload", files=files)
    assert uploaded.status_code in (200, 201, 202), uploaded.text
    for name in ("one.txt", "two.csv"):
        assert settled(http, name)["status"] == "completed"
    document_id = next(item["id"] for item in documents(http) if item["filename"] == "one.txt")
    assert http.delete(f"/v1/rag/documents/{document_id}").status_code in (200, 202)
    wait_until(lambda: http.get(f"/v1/rag/documents/{document_id}").status_code == 404, 20)


def test_a_streamed_chat_equals_the_plain_answer(client: openai.OpenAI) -> None:
    request = {
        "model": "llama-2-7b-chat",
        "messages": [{"role": "user", "content": "Name three colours."}],
        "max_tokens": 24,
        "temperature": 0,
    }
    whole = client.chat.completions.create(**request)  # type: ignore[call-overload]
    chunks = list(client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}))  # type: ignore[call-overload]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].delta.role for chunk in chunks if chunk.choices].count("assistant") == 1
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert whole.model != "llama-2-7b-chat", "the answer names the model that generated it"


def test_embeddings_are_unit_vectors_in_both_encodings(client: openai.OpenAI) -> None:
    texts = ["a cat sat on the mat", "the economy grew"]
    # By default the client asks for base64, which its own schema refuses in strict mode.
    lenient = openai.OpenAI(base_url=client.base_url, api_key="none", max_retries=0)
    packed = lenient.embeddings.create(model="jina-embeddings-v3", input=texts)
    plain = client.embeddings.create(model="jina-embeddings-v3", input=texts, encoding_format="float")
    one, other = (np.array([item.embedding for item in answer.data]) for answer in (packed, plain))
    assert one.shape == (2, 384) and np.allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
    assert np.allclose(one, other, atol=4e-3)


def test_asynchronous_chat_is_a_job(http: httpx.Client) -> None:
    request = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    accepted = http.post("/v1/chat/completions", json=request, headers={"Prefer": "respond-async"})
    assert accepted.status_code == 202, accepted.text
    location = accepted.headers["location"]
    wait_until(lambda: http.get(location).json()["status"] in ("completed", "failed"), 30)
    job = http.get(location).json()
    assert job["status"] == "completed", job
    assert job["result"]["object"] == "chat.completion" and job["result"]["choices"][0]["message"]["content"]
    assert job["id"] in [item["id"] for item in http.get("/v1/jobs").json()["data"]]
    with http.stream("GET", f"{location}/events", headers={"Last-Event-ID": "1"}) as events:
        ids = [int(line[3:]) for line in events.iter_lines() if line.startswith("id:")]
    assert ids[0] == 2 and ids == list(range(2, 2 + len(ids)))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "/v1/chat/completions", "{broken", 400, None),
        ("POST", "/v1/chat/completions", "[]", 400, None),
        ("POST", "/v1/chat/completions", '{"messages": []}', 400, "messages"),
        ("POST", "/v1/rag/chat", '{"query": ""}', 400, "query"),
        ("POST", "/v1/rag/search", '{"query": "  "}', 400, "query"),
        ("POST", "/v1/embeddings", '{"model": "m", "input": []}', 400, "input"),
        ("GET", "/v1/rag/documents/doc-unknown", None, 404, None),
        ("DELETE", "/v1/rag/documents/doc-unknown", None, 404, None),
        ("GET", "/v1/jobs/job-unknown", None, 404, None),
        ("GET", "/v1/nothing", None, 404, None),
    ],
)
def test_errors_are_openai_shaped(
    http: httpx.Client, method: str, path: str, body: str | None, status: int, param: str | None
) -> None:
    answer = http.request(method, path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    if param:
        assert error["param"] and error["param"].startswith(param)
    assert answer.headers["x-request-id"]


def test_a_prompt_that_does_not_fit_is_refused_before_the_stream(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "word " * 20_000}], stream=True)
    assert caught.value.code == "context_length_exceeded"


def test_functions_ready_and_models_are_listed(http: httpx.Client, client: openai.OpenAI) -> None:
    names = [item["function"]["name"] for item in http.get("/v1/functions").json()["data"]]
    assert "get_current_time" in names or any("time" in name for name in names)
    ready = http.get("/ready")
    assert ready.status_code == 200, ready.text
    assert client.models.list().data


def test_flower_shows_workers_and_tasks_behind_its_password(stack: Stack) -> None:
    assert httpx.get(f"{stack.flower_url}/api/workers", timeout=60).status_code == 401
    with httpx.Client(base_url=stack.flower_url, auth=stack.flower_login, timeout=60) as flower:
        wait_until(lambda: len(flower.get("/api/workers", params={"refresh": "1"}).json()) >= 4, 30)
        tasks = flower.get("/api/tasks").json()
        assert tasks and all("warranty" not in str(task.get("args")) for task in tasks.values())


def test_status_shows_processes_queues_documents_models_and_memory(stack: Stack) -> None:
    status = stack.status()
    assert {"api", "ingest", "index", "inference", "maintenance", "watcher", "flower", "redis"} <= set(
        status["processes"]
    )
    assert set(status) >= {"queues", "documents", "models"}
    assert status["processes"]["api"]["memory_bytes"] < 200 * 2**20
