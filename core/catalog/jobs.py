"""Asynchronous jobs: jobs that outlive their client and survive restarts."""

from __future__ import annotations

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.rows import as_job, before, clean, newest_first, page_of
from core.catalog.tables import jobs
from core.catalog.types import Job, JobState, Page
from core.errors import NotFound

UNFINISHED = (JobState.QUEUED, JobState.RUNNING)


class JobQueries(MigratedDatabase):
    """The part of the catalog about asynchronous jobs."""

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
        }
        with self._write() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one_or_none()
            if row is None:
                connection.execute(sa.insert(jobs).values(**values))
        return self.get_job(job_id)

    def get_job(self, job_id: str) -> Job:
        """Return the job. Raise NotFound if there is none."""
        with self._read() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one_or_none()
        if row is None:
            raise NotFound(f"No job with the id {job_id!r}.", param="job_id")
        return as_job(row)

    def list_jobs(self, limit: int = 20, after: str | None = None, state: JobState | None = None) -> Page[Job]:
        """Return jobs, the newest first. Raise InvalidRequest if there is no job with the id `after`."""
        query = sa.select(jobs).order_by(*newest_first(jobs)).limit(limit + 1)
        if state is not None:
            query = query.where(jobs.c.state == state)
        with self._read() as connection:
            if after is not None:
                query = query.where(before(connection, jobs, after))
            return page_of([as_job(row) for row in connection.execute(query)], limit)

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
        values = {
            "state": state,
            "result": None if result is None else clean(result),
            "error": None if error is None else clean(error),
            "finished_at": self._now(),
        }
        with self._write() as connection:
            return connection.execute(statement.values(**values)).rowcount == 1

    def unfinished_jobs(self, limit: int) -> list[Job]:
        """Return jobs that have not ended, the oldest first."""
        query = sa.select(jobs).where(jobs.c.state.in_(UNFINISHED)).order_by(jobs.c.created_at, jobs.c.id).limit(limit)
        with self._read() as connection:
            return [as_job(row) for row in connection.execute(query)]

    def purge_jobs(self, older_than_seconds: float) -> int:
        """Remove the jobs that ended longer ago than this. Return their number."""
        oldest = self._now() - older_than_seconds
        with self._write() as connection:
            return connection.execute(sa.delete(jobs).where(jobs.c.finished_at < oldest)).rowcount
