"""`/v1/models/pull`: what it answers, and what it refuses before a job is made."""

from __future__ import annotations

import httpx
import pytest

from api.schemas.pull import PulledModel, RecommendedModels
from core.models.recommended import Memory
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.test_errors import error_of

pytestmark = pytest.mark.asyncio

PATH = "/v1/models/pull"


async def test_a_client_that_waits_gets_the_model_s_name(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    answer = await http.post(PATH, json={"model": "https://huggingface.co/org/repo:Q8_0"})
    assert answer.status_code == 200 and PulledModel.model_validate(answer.json()).model == "m"
    [job] = stream.submitted
    assert (job.kind, job.request.model) == ("pull", "org/repo:Q8_0")


async def test_an_asynchronous_pull_is_a_job(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, json={"model": "org/repo"}, headers={"prefer": "respond-async"})
    assert (answer.status_code, answer.json()["kind"]) == (202, "pull")
    job = (await http.get(answer.headers["location"])).json()
    assert job["endpoint"] == PATH


async def test_recommended_models_say_which_one_a_pull_of_recommended_means(
    http: httpx.AsyncClient, stream: FakeJobStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Memory, "of_this_machine", lambda: Memory(main_bytes=6 * 10**9))
    answer = RecommendedModels.model_validate((await http.get("/v1/models/recommended")).json())
    [best] = [model for model in answer.data if model.best]
    assert best.fits and not answer.data[-1].fits and answer.memory_bytes == 6 * 10**9
    await http.post(PATH, json={"model": "recommended"})
    [job] = stream.submitted
    assert job.request.model == best.id


async def test_recommended_is_refused_where_no_model_fits(
    http: httpx.AsyncClient, stream: FakeJobStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Memory, "of_this_machine", lambda: Memory(main_bytes=1000))
    error = error_of(await http.post(PATH, json={"model": "recommended"}), 400)
    assert error["param"] == "model" and not stream.submitted


@pytest.mark.parametrize("model", ["", "repo", "../../etc", "org/repo:../x", "http://elsewhere.example/org/repo"])
async def test_what_names_no_model_on_the_hub_is_refused(
    http: httpx.AsyncClient, stream: FakeJobStream, model: str
) -> None:
    error = error_of(await http.post(PATH, json={"model": model}), 400)
    assert error["param"] == "model" and not stream.submitted
