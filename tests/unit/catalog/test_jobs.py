"""Asynchronous jobs."""

from __future__ import annotations

import pytest

from core.catalog import Catalog, JobState
from core.errors import InvalidRequest, NotFound
from tests.unit.catalog.conftest import Clock


def test_a_job_is_created_once(catalog: Catalog, clock: Clock) -> None:
    job = catalog.create_job("job-1", "chat", "/v1/chat/completions", '{"a": 1}', key="k")
    clock.advance(5)
    assert catalog.create_job("job-1", "search", "/", "{}") == job
    assert (job.state, job.attempt, job.request, job.key) == (JobState.QUEUED, 0, '{"a": 1}', "k")


def test_an_unknown_job_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound) as raised:
        catalog.get_job("job-none")
    assert raised.value.param == "job_id"


def test_a_job_runs_in_attempts_that_only_grow(catalog: Catalog, clock: Clock) -> None:
    catalog.create_job("job-1", "chat", "/", "{}")
    assert catalog.set_job_running("job-1", 1)
    started_at = catalog.get_job("job-1").started_at
    clock.advance(1)
    assert catalog.set_job_running("job-1", 2)
    assert not catalog.set_job_running("job-1", 1)
    job = catalog.get_job("job-1")
    assert (job.state, job.attempt, job.started_at) == (JobState.RUNNING, 2, started_at)


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED])
def test_the_first_end_of_a_job_wins(catalog: Catalog, state: JobState) -> None:
    catalog.create_job("job-1", "chat", "/", "{}")
    assert catalog.finish_job("job-1", state, result='"r"', error='"e"')
    assert not catalog.finish_job("job-1", JobState.FAILED)
    assert not catalog.set_job_running("job-1", 1)
    job = catalog.get_job("job-1")
    assert (job.state, job.result, job.error) == (state, '"r"', '"e"')
    assert job.finished_at is not None


def test_jobs_are_listed_from_the_newest(catalog: Catalog, clock: Clock) -> None:
    for number in range(5):
        clock.advance(1)
        catalog.create_job(f"job-{number}", "chat", "/", "{}")
    page = catalog.list_jobs(limit=2)
    assert [job.id for job in page.items] == ["job-4", "job-3"]
    assert page.has_more
    assert [job.id for job in catalog.list_jobs(3, after="job-3").items] == ["job-2", "job-1", "job-0"]
    catalog.finish_job("job-2", JobState.COMPLETED)
    assert [job.id for job in catalog.list_jobs(state=JobState.COMPLETED).items] == ["job-2"]
    first = catalog.unfinished_jobs(2)
    assert [job.id for job in first] == ["job-0", "job-1"]
    assert [job.id for job in catalog.unfinished_jobs(2, after=first[-1])] == ["job-3", "job-4"]
    assert not hasattr(first[0], "request") and not hasattr(page.items[0], "result"), "bodies are not read"
    with pytest.raises(InvalidRequest):
        catalog.list_jobs(after="job-none")


def test_many_jobs_are_purged_some_at_a_time(catalog: Catalog, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.catalog.jobs.IDS_PER_STATEMENT", 2)
    for number in range(5):
        catalog.create_job(f"job-{number}", "chat", "/", "{}")
        catalog.finish_job(f"job-{number}", JobState.COMPLETED)
    clock.advance(11)
    assert catalog.purge_jobs(10) == 5


def test_ended_jobs_are_purged(catalog: Catalog, clock: Clock) -> None:
    catalog.create_job("job-1", "chat", "/", "{}")
    catalog.create_job("job-2", "chat", "/", "{}")
    catalog.finish_job("job-1", JobState.COMPLETED)
    clock.advance(11)
    assert catalog.purge_jobs(10) == 1
    assert [job.id for job in catalog.list_jobs().items] == ["job-2"]


def test_the_size_of_all_jobs_is_that_of_their_requests_and_results(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (catalog.unfinished_job_count(), catalog.job_bytes()) == (0, 0)
    catalog.create_job("job-1", "chat", "/", '"é"')
    catalog.create_job("job-2", "chat", "/", '"12345"')
    assert catalog.job_bytes() == 0, "it is not added up again within seconds"
    monkeypatch.setattr("core.catalog.jobs.JOB_BYTES_SECONDS", 0)
    assert (catalog.unfinished_job_count(), catalog.job_bytes()) == (2, 4 + 7)
    catalog.finish_job("job-1", JobState.COMPLETED, result='"a result"')
    assert (catalog.unfinished_job_count(), catalog.job_bytes()) == (1, 4 + 7 + 10)
    catalog.purge_jobs(-1)
    assert (catalog.unfinished_job_count(), catalog.job_bytes()) == (1, 7)
