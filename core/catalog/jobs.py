"""Asynchronous jobs: jobs that outlive their client and survive restarts."""

from __future__ import annotations

import math
import time
from typing import Any

import sqlalchemy as sa

from core.catalog.batched import BatchedDatabase
from core.catalog.rows import (
    IDS_PER_STATEMENT,
    SELECT_JOB,
    SELECT_JOB_SUMMARY,
    as_job,
    as_job_summary,
    before,
    clean,
    newest_first,
    page_of,
)
from core.catalog.tables import jobs
from core.catalog.types import Job, JobState, JobSummary, Page
from core.errors import NotFound

UNFINISHED = (JobState.QUEUED, JobState.RUNNING)
#: The same for a table of any size: written out as in the index `jobs_unfinished`.
_IS_UNFINISHED = sa.text("jobs.state NOT IN ('completed', 'failed', 'cancelled')")


#: For 100,000 jobs, adding up their sizes takes 30 ms.
JOB_BYTES_SECONDS = 5.0


class JobQueries(BatchedDatabase):
    """The part of the catalog about asynchronous jobs."""

    #: When the sizes of all jobs were added up last (monotonic seconds), and their sum.
    _job_bytes: tuple[float, int] = (-math.inf, 0)

    def create_job(self, job_id: str, kind: str, endpoint: str, request: str, key: str | None = None) -> Job:
        """Record a queued job; `request` is JSON. If there is already a job with this id, return it unchanged."""
        values = {
            "id": job_id,
            "kind": kind,
            "endpoint": endpoint,
            "request": request,
            "key": key,
            "state": JobState.QUEUED,
            "attempt": 0,
            "created_at": self._now(),
            "size_bytes": len(request.encode()),
        }
        self._write_retried(lambda connection: _insert_once(connection, values))
        return self.get_job(job_id)

    def get_job(self, job_id: str) -> Job:
        """Return the job. Raise NotFound if there is none."""
        with self._read() as connection:
            row = connection.execute(SELECT_JOB.where(jobs.c.id == job_id)).one_or_none()
        if row is None:
            raise NotFound(f"No job with the id {job_id!r}.", param="job_id")
        return as_job(row)

    def list_jobs(self, limit: int = 20, after: str | None = None, state: JobState | None = None) -> Page[JobSummary]:
        """Return jobs, the newest first. Raise InvalidRequest if there is no job with the id `after`."""
        query = SELECT_JOB_SUMMARY.order_by(*newest_first(jobs)).limit(limit + 1)
        if state is not None:
            query = query.where(jobs.c.state == state)
        with self._read() as connection:
            if after is not None:
                query = query.where(before(connection, jobs, after))
            return page_of([as_job_summary(row) for row in connection.execute(query)], limit)

    def set_job_running(self, job_id: str, attempt: int) -> bool:
        """Record that a worker runs this attempt. Return False if the job has ended or a later attempt runs."""
        statement = sa.update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(UNFINISHED), jobs.c.attempt <= attempt)
        started_at = sa.func.coalesce(jobs.c.started_at, self._now())
        with self._write() as connection:
            values = {"state": JobState.RUNNING, "attempt": attempt, "started_at": started_at}
            return connection.execute(statement.values(**values)).rowcount == 1

    def finish_job(self, job_id: str, state: JobState, result: str | None = None, error: str | None = None) -> bool:
        """End a job. Return False if it has already ended. `result` and `error` are JSON."""
        statement = sa.update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(UNFINISHED))
        kept = None if result is None else clean(result)
        values = {
            "state": state,
            "result": kept,
            "error": None if error is None else clean(error),
            "finished_at": self._now(),
            "size_bytes": jobs.c.size_bytes + (len(kept.encode()) if kept else 0),
        }
        with self._write() as connection:
            return connection.execute(statement.values(**values)).rowcount == 1

    def unfinished_job_count(self) -> int:
        """Return how many jobs have not ended."""
        with self._read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(jobs).where(_IS_UNFINISHED)).scalar_one()

    def job_bytes(self) -> int:
        """Return the size of the requests and results of all jobs, as it was at most `JOB_BYTES_SECONDS` ago."""
        summed_at, total = self._job_bytes
        if time.monotonic() - summed_at >= JOB_BYTES_SECONDS:
            with self._read() as connection:
                total = int(connection.execute(sa.select(sa.func.sum(jobs.c.size_bytes))).scalar_one() or 0)
            self._job_bytes = (time.monotonic(), total)
        return total

    def unfinished_jobs(self, limit: int, after: JobSummary | None = None) -> list[JobSummary]:
        """Return jobs that have not ended, the oldest first, or those that follow the job `after`."""
        order = (jobs.c.created_at, jobs.c.id)
        query = SELECT_JOB_SUMMARY.where(_IS_UNFINISHED).order_by(*order).limit(limit)
        if after is not None:
            query = query.where(sa.tuple_(*order) > sa.tuple_(after.created_at, after.id))
        with self._read() as connection:
            return [as_job_summary(row) for row in connection.execute(query)]

    def purge_jobs(self, older_than_seconds: float) -> int:
        """Remove the jobs that ended longer ago than this. Return their number.

        They are removed some at a time, so that other writers do not wait for long.
        """
        ended = sa.select(jobs.c.id).where(jobs.c.finished_at < self._now() - older_than_seconds)
        purge = sa.delete(jobs).where(jobs.c.id.in_(ended.limit(IDS_PER_STATEMENT)))
        total = 0
        while True:
            began = time.monotonic()
            with self._write() as connection:
                count = connection.execute(purge).rowcount
            total += count
            if count < IDS_PER_STATEMENT:
                return total
            self._rest(time.monotonic() - began)


def _insert_once(connection: sa.Connection, values: dict[str, Any]) -> None:
    known = sa.select(jobs.c.id).where(jobs.c.id == values["id"])
    if connection.execute(known).one_or_none() is None:
        connection.execute(sa.insert(jobs).values(**values))
