"""Several models on one host: loaded when they are asked for, unloaded for one another, and killed one by one."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from core.models.library import ModelLibrary
from core.settings import load_settings
from inference.engine.model_files import resolve_model
from tests.fakes.hub import Hub, running_hub
from tests.gguf_files import changed_copy
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(420)]

#: A template of another form, which the starter's vocabulary can write.
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
#: It opens the reasoning, as DeepSeek R1's does.
THINKING_TEMPLATE = TEMPLATE.replace("message.content", "message.content.split('</think>')[-1]") + "\n<think>\n"
STARTER = "SmolLM2-135M-Instruct"
LOAD_SECONDS = 120.0


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """Run a hub that has the starter under another name."""
    content = resolve_model(load_settings(_env_file=None)).path.read_bytes()
    with running_hub({"somebody/pulled-gguf": {"Pulled-Q4_1.gguf": content}}) as hub:
        yield hub


@pytest.fixture(scope="module")
def stack(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start a stack with the starter and two further models, and memory for two of the three."""
    folder = tmp_path_factory.mktemp("models")
    starter = resolve_model(load_settings(_env_file=None)).path
    shutil.copy(starter, folder / "Twin.gguf")
    changed_copy(starter, folder / "Plain.gguf", TEMPLATE, {})
    changed_copy(starter, folder / "Thinker.gguf", THINKING_TEMPLATE, {})
    whole = (folder / "Plain.gguf").read_bytes()
    (folder / "Broken.gguf").write_bytes(whole[: len(whole) // 2])
    settings = load_settings(_env_file=None, models_dir=folder, context_length=2048)
    needed = max(model.needed_bytes(settings) for model in ModelLibrary(settings).models())
    variables = {
        "MODELS_DIR": str(folder),
        "CONTEXT_LENGTH": "2048",
        "INFERENCE_SLOTS": "2",
        "MODEL_MEMORY_BYTES": str(int(2.5 * needed)),
        "HF_ENDPOINT": hub.url,
    }
    with Stack(tmp_path_factory.mktemp("stack"), variables) as stack:
        yield stack


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.base_url, timeout=LOAD_SECONDS) as http:
        yield http


def chat(http: httpx.Client, model: str, **fields: Any) -> httpx.Response:
    return http.post("/v1/chat/completions", json=_chat_body(model, **fields))


def _chat_body(model: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Count from one to ten."}]
    return {"model": model, "messages": messages, "max_tokens": 8, "temperature": 0, **fields}


def states(http: httpx.Client) -> dict[str, str]:
    models = http.get("/v1/models").json()["data"]
    return {model["id"]: model["state"] for model in models if model["kind"] == "chat" and "collection" not in model}


def test_requests_to_all_at_once_are_answered_each_by_its_model_and_only_two_are_loaded(http: httpx.Client) -> None:
    before = {STARTER: "loaded", "Twin": "available", "Plain": "available", "Thinker": "available", "Broken": "failed"}
    assert states(http) == before
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda name: chat(http, name), [STARTER, "Twin", "Plain"] * 2))
    assert [answer.status_code for answer in answers] == [200] * 6, [answer.text for answer in answers]
    assert [answer.json()["model"] for answer in answers] == [STARTER, "Twin", "Plain"] * 2
    prompts = {answer.json()["model"]: answer.json()["usage"]["prompt_tokens"] for answer in answers}
    assert prompts["Plain"] < prompts["Twin"] == prompts[STARTER], "it has another template"
    assert sorted(states(http).values()) == ["available", "available", "failed", "loaded", "loaded"]


def test_a_job_learns_that_its_model_is_being_loaded_and_the_least_recently_used_makes_room(http: httpx.Client) -> None:
    loaded = [name for name, state in states(http).items() if state == "loaded"]
    missing = next(name for name in (STARTER, "Twin", "Plain") if name not in loaded)
    kept = next(name for name in loaded if name != STARTER)
    assert chat(http, kept).status_code == 200
    body = {"model": missing, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    created = http.post("/v1/chat/completions", json=body, headers={"Prefer": "respond-async"})
    found: list[dict[str, Any]] = []
    with http.stream("GET", f"{created.headers['location']}/events") as response:
        found.extend(json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {"))
    assert {"type": "queued", "reason": "loading"}.items() <= found[1].items(), found
    assert found[-1]["type"] == "finished"
    assert states(http)[missing] == "loaded"


def test_a_stream_goes_on_when_its_model_is_killed_and_the_other_model_is_not_disturbed(
    stack: Stack, http: httpx.Client
) -> None:
    first, second = (name for name, state in states(http).items() if state == "loaded")
    tokens, received = 300, 0
    pids = {name: _pid(stack, name) for name in (first, second)}
    body = {
        "model": second,
        "messages": [{"role": "user", "content": "Tell a long story."}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    frames = []
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            frames.append(json.loads(line[6:]))
            received += 1
            if received == 3:
                os.kill(pids[second], signal.SIGKILL)
                assert chat(http, first).status_code == 200
    assert not any("error" in frame for frame in frames)
    assert frames[-1]["usage"]["completion_tokens"] == tokens
    assert _pid(stack, first) == pids[first] and _pid(stack, second) != pids[second]


def test_reasoning_goes_on_as_reasoning_when_its_model_is_killed(stack: Stack, http: httpx.Client) -> None:
    """End by `max_tokens`: the model was not trained with the tags, so that it never ends its reasoning."""
    body = {"max_tokens": 200, "ignore_eos": True}
    undisturbed = chat(http, "Thinker", **body).json()
    shown = {model["id"]: model["capabilities"] for model in http.get("/v1/models").json()["data"]}
    assert "reasoning" in shown["Thinker"] and "reasoning" not in shown[STARTER]
    pid, reasoning, usage = _pid(stack, "Thinker"), "", {}
    streamed = body | {"stream": True, "stream_options": {"include_usage": True}}
    with http.stream("POST", "/v1/chat/completions", json=_chat_body("Thinker", **streamed)) as response:
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            frame = json.loads(line[6:])
            assert "error" not in frame, frame
            usage = frame.get("usage") or usage
            for choice in frame["choices"]:
                assert not choice["delta"].get("content"), frame
                if not reasoning and choice["delta"].get("reasoning_content"):
                    os.kill(pid, signal.SIGKILL)
                reasoning += choice["delta"].get("reasoning_content") or ""
    assert _pid(stack, "Thinker") != pid
    assert usage["completion_tokens_details"]["reasoning_tokens"] == usage["completion_tokens"] == 200
    assert reasoning == undisturbed["choices"][0]["message"]["reasoning_content"]


def test_a_request_for_a_broken_file_is_refused_with_the_reason_and_the_rest_goes_on(http: httpx.Client) -> None:
    refused = chat(http, "Broken")
    assert refused.status_code == 400 and "cut off" in refused.json()["error"]["message"], refused.text
    assert chat(http, STARTER).status_code == 200


def test_a_model_is_unloaded_and_made_the_default_one(http: httpx.Client) -> None:
    name = next(name for name, state in states(http).items() if state == "loaded" and name != STARTER)
    assert http.post(f"/v1/models/{name}/unload").status_code == 202
    wait_until(lambda: states(http)[name] == "available", 60)
    assert http.post(f"/v1/models/{name}/default").json()["default"] is True
    wait_until(lambda: list(states(http))[0] == name, 10)
    assert chat(http, "gpt-4o").json()["model"] == name
    assert http.post(f"/v1/models/{STARTER}/default").status_code == 200


def test_a_model_that_was_pulled_answers_at_once_without_a_restart_and_none_that_was_removed(
    stack: Stack, http: httpx.Client
) -> None:
    pulled = http.post("/v1/models/pull", json={"model": "somebody/pulled-gguf:Q4_1"})
    assert pulled.status_code == 200, pulled.text
    assert chat(http, "Pulled-Q4_1").json()["model"] == "Pulled-Q4_1"
    assert "Pulled-Q4_1" in stack.run("models", "list").stdout
    stack.run("models", "rm", "Pulled-Q4_1")
    wait_until(lambda: "Pulled-Q4_1" not in states(http), 30)
    assert "Pulled-Q4_1 is in" in stack.run("models", "pull", "somebody/pulled-gguf").stdout
    assert states(http)["Pulled-Q4_1"] == "available"
    stack.run("models", "rm", "Pulled-Q4_1")
    wait_until(lambda: stack.pid_of("inference-pulled-q4-1") == 0, 60)


def test_models_are_loaded_and_unloaded_by_commands(stack: Stack, http: httpx.Client) -> None:
    assert "Plain is loaded" in stack.run("models", "load", "Plain").stdout
    assert states(http)["Plain"] == "loaded"
    assert "Plain is unloaded" in stack.run("models", "unload", "Plain").stdout
    assert "the default model" in stack.run("models", "default", STARTER).stdout


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("nobody/load", 404, "no language model 'nobody'"),
        ("Broken/load", 400, "Broken.gguf"),
        ("..%5C..%5Cetc/load", 400, "is not the name of a model"),
    ],
)
def test_a_model_that_is_not_there_is_named(http: httpx.Client, path: str, status: int, words: str) -> None:
    refused = http.post(f"/v1/models/{path}")
    assert refused.status_code == status and words in refused.json()["error"]["message"], refused.text


def _pid(stack: Stack, name: str) -> int:
    own = stack.pid_of(f"inference-{name.lower()}")
    return own or stack.pid_of("inference")
