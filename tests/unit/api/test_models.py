"""Which model a request gets: by its name, the default one for unknown names, loaded if it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.dependencies import Services
from core.catalog import Catalog
from core.errors import Unavailable
from tasks.jobs.queues import Role
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import MODEL, client_of

CHAT = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "Hello"}]}


def on_disk(name: str, state: str = "available", **changed: Any) -> dict[str, Any]:
    facts = {"context_length": 4096, "size_bytes": 7, "quantization": "Q4_K_M", "parameters": 3, "is_default": False}
    return {"name": name, "slug": name.lower(), "state": state, "problem": "", "loadable": True, **facts, **changed}


@pytest.fixture(autouse=True)
def hosts(stream: FakeJobStream) -> FakeJobStream:
    """Announce a host with the default model loaded and two on its disk, and a worker on another host."""
    stream.live[Role.INFERENCE]["inference@host"] |= {"slug": MODEL.lower(), "serves_any": True}
    stream.live[Role.INFERENCE]["two@other"] = {"model": {"name": "Lone"}, "slug": "lone", "started_at": 1.0}
    stream.live[Role.SUPERVISOR] = {
        "up@host": {
            "models": [
                on_disk(MODEL, "loaded", is_default=True),
                on_disk("Qwen3-4B"),
                on_disk("Huge", problem="The model needs 9 bytes.", loadable=False),
            ]
        }
    }
    return stream


async def slug_of(http: httpx.AsyncClient, stream: FakeJobStream, **fields: Any) -> str:
    answer = await http.post(CHAT, json=BODY | fields)
    assert answer.status_code == 200, answer.text
    return stream.submitted[-1].model


@pytest.mark.parametrize(
    ("name", "slug", "is_wanted"),
    [
        (MODEL, MODEL.lower(), False),
        ("gpt-4o", MODEL.lower(), False),
        (None, MODEL.lower(), False),
        ("Lone", "lone", False),
        ("Qwen3-4B", "qwen3-4b", True),
        ("qwen3 4b", "qwen3-4b", True),
    ],
)
async def test_a_job_goes_to_the_queue_of_the_model_that_it_names(
    http: httpx.AsyncClient, stream: FakeJobStream, catalog: Catalog, name: str | None, slug: str, is_wanted: bool
) -> None:
    assert await slug_of(http, stream, **({"model": name} if name else {})) == slug
    assert [wish.model for wish in catalog.model_wishes()] == ([slug] if is_wanted else [])


async def test_asynchronous_jobs_keep_their_model_in_the_catalog_and_need_no_redis(
    http: httpx.AsyncClient, stream: FakeJobStream, catalog: Catalog
) -> None:
    headers = {"prefer": "respond-async"}
    made = (await http.post(CHAT, json=BODY | {"model": "Lone"}, headers=headers)).json()
    assert catalog.get_job(made["id"]).model == "lone"
    stream.failure = Unavailable("The queue (Redis) does not answer.")
    made = (await http.post(CHAT, json=BODY | {"model": "Lone"}, headers=headers)).json()
    assert catalog.get_job(made["id"]).model == "", "it is found when the job is submitted"


async def test_a_model_that_cannot_be_loaded_is_refused_with_its_reason(http: httpx.AsyncClient) -> None:
    for answer in (await http.post(CHAT, json=BODY | {"model": "Huge"}), await http.post("/v1/models/Huge/load")):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "model_not_usable", "model")
        assert "needs 9 bytes" in error["message"]


async def test_all_models_are_listed_with_their_states_and_the_default_one_first(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/rag/collections", json={"name": "manuals"})).is_success
    listed = (await http.get("/v1/models")).json()["data"]
    models = {one["id"]: one for one in listed if one["kind"] == "chat" and "collection" not in one}
    states = {name: model["state"] for name, model in models.items()}
    assert states == {MODEL: "loaded", "Qwen3-4B": "available", "Huge": "available", "Lone": "loaded"}
    assert [name for name, model in models.items() if model.get("default")] == [MODEL] == list(models)[:1]
    facts = {"context_length": 4096, "size_bytes": 7, "quantization": "Q4_K_M", "parameters": 3}
    assert facts.items() <= models["Qwen3-4B"].items()
    assert models["Qwen3-4B"]["capabilities"] == ["chat", "tools"]
    assert models["Huge"]["problem"] == "The model needs 9 bytes."
    answering = {one["id"].partition("@")[0] for one in listed if "collection" in one}
    assert answering == {MODEL, "Lone"}, "of those that are not loaded, no name with a collection is listed"


async def test_loading_and_unloading_are_wishes_and_the_default_is_kept(
    http: httpx.AsyncClient, catalog: Catalog
) -> None:
    assert (await http.post("/v1/models/qwen3-4b/load")).status_code == 202
    assert (await http.post(f"/v1/models/{MODEL}/unload")).status_code == 202
    assert (await http.post(f"/v1/models/{MODEL}/load")).status_code == 202
    chosen = await http.post("/v1/models/Qwen3-4B/default")
    assert (chosen.status_code, chosen.json()["id"], chosen.json()["default"]) == (200, "Qwen3-4B", True)
    wishes = {wish.model: wish for wish in catalog.model_wishes()}
    assert wishes["qwen3-4b"].wanted_at is not None and wishes["qwen3-4b"].is_default
    assert wishes[MODEL.lower()].unwanted_at is not None
    assert wishes[MODEL.lower()].wanted_at is None, "it is loaded"
    await http.post(f"/v1/models/{MODEL}/default")
    assert [wish.model for wish in catalog.model_wishes() if wish.is_default] == [MODEL.lower()]


async def test_without_a_supervisor_the_chosen_default_or_the_oldest_worker_answers(
    http: httpx.AsyncClient, stream: FakeJobStream, catalog: Catalog
) -> None:
    stream.live[Role.SUPERVISOR] = {}
    assert await slug_of(http, stream) == MODEL.lower(), "the one that takes jobs for any model"
    catalog.set_default_model("lone")
    assert await slug_of(http, stream, model="gpt-4o") == "lone"
    stream.live[Role.INFERENCE] = {}
    assert await slug_of(http, stream) == "", "whichever worker comes"


async def test_strict_models_refuses_unknown_names_only(services: Services, stream: FakeJobStream) -> None:
    strict = replace(services, settings=services.settings.model_copy(update={"strict_models": True}))
    async with client_of(strict) as http:
        assert await slug_of(http, stream, model="Qwen3-4B") == "qwen3-4b"
        refused = await http.post(CHAT, json=BODY | {"model": "gpt-4o"})
    assert refused.status_code == 404 and "Qwen3-4B" in refused.json()["error"]["message"]


@pytest.mark.parametrize("action", ["load", "unload", "default"])
@pytest.mark.parametrize(("name", "status"), [("nobody", 404), ("..%5Cetc", 400)])
async def test_a_name_that_is_no_models_is_refused(
    http: httpx.AsyncClient, action: str, name: str, status: int
) -> None:
    answer = await http.post(f"/v1/models/{name}/{action}")
    assert answer.status_code == status and answer.json()["error"]["param"] == "model"


async def test_it_is_ready_while_no_model_is_loaded_but_one_can_be(
    http: httpx.AsyncClient, stream: FakeJobStream
) -> None:
    stream.live[Role.INFERENCE] = {}
    assert (await http.get("/ready")).json()["checks"]["inference_worker"] == "ok"
    stream.live[Role.SUPERVISOR]["up@host"]["models"] = [on_disk("Huge", loadable=False)]
    assert (await http.get("/ready")).json()["checks"]["inference_worker"] == "unavailable"


async def test_the_model_that_the_program_brings_is_named_as_a_demonstration(
    http: httpx.AsyncClient, stream: FakeJobStream
) -> None:
    stream.live[Role.INFERENCE]["two@other"]["model"]["is_starter"] = True
    models = (await http.get("/v1/models")).json()["data"]
    assert [model["id"] for model in models if model.get("demonstration")] == ["Lone"]
