"""`/v1/models/pull`: what it answers, and what it refuses before a job is made."""

from __future__ import annotations

import httpx
import pytest

from api.schemas.pull import PulledModel
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


@pytest.mark.parametrize("model", ["", "repo", "../../etc", "org/repo:../x", "http://elsewhere.example/org/repo"])
async def test_what_names_no_model_on_the_hub_is_refused(
    http: httpx.AsyncClient, stream: FakeJobStream, model: str
) -> None:
    error = error_of(await http.post(PATH, json={"model": model}), 400)
    assert error["param"] == "model" and not stream.submitted
