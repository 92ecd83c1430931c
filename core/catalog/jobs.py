"""Asynchronous jobs: jobs that outlive their client and survive restarts."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from core.catalog.batched import BatchedDatabase
from core.catalog.rows import (
    IDS_PER_STATEMENT,
    SELECT_JOB,
    SELECT_JOB_SUMMARY,
    as_job,
    as_job_summary,
    batches,
    before,
    clean,
    made_by,
    newest_ids,
    page_of,
)
from core.catalog.tables import jobs
from core.catalog.types import Job, JobState, JobSummary, Page
from core.errors import NotFound
from core.keys import DEFAULT_OWNER, EVERYTHING, Reach

UNFINISHED = (JobState.QUEUED, JobState.RUNNING)
#: The same for a table of any size: written out as in the index `jobs_unfinished`.
_IS_UNFINISHED = sa.text("jobs.state NOT IN ('completed', 'failed', 'cancelled')")


#: For 100,000 jobs, adding up their sizes takes 30 ms.
JOB_BYTES_SECONDS = 5.0


class JobQueries(BatchedDatabase):
    """The part of the catalog about asynchronous jobs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: By owner: when the sizes of the jobs were added up last (monotonic seconds), and their sum.
        self._job_bytes: dict[str, tuple[float, int]] = {}

    def create_job(
        self,
        job_id: str,
        kind: str,
        endpoint: str,
        request: str,
        key: str | None = None,
        *,
        owner: str = DEFAULT_OWNER,
        collections: Iterable[str] | None = None,
        model: str = "",
    ) -> Job:
        """Record a queued job. If there is already a job with this id, return it unchanged.

        Args:
            request: JSON.
            collections: the names of the only collections that the job may read.
            model: the slug of the language model that it is for.
        """
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
            "owner": owner,
            "collections": None if collections is None else _sorted_json(collections),
            "model": model,
        }
        self._write_retried(lambda connection: _insert_once(connection, values))
        return self.get_job(job_id)

    def get_job(self, job_id: str, reach: Reach = EVERYTHING) -> Job:
        """Return the job. Raise NotFound if there is none that is seen."""
        with self._read() as connection:
            row = connection.execute(SELECT_JOB.where(jobs.c.id == job_id, *_seen(reach))).one_or_none()
        if row is None:
            raise NotFound(f"No job with the id {job_id!r}.", param="job_id")
        return as_job(row)

    def jobs_by_id(self, job_ids: Iterable[str]) -> list[JobSummary]:
        """Return the existing jobs among these ids."""
        found: list[JobSummary] = []
        with self._read() as connection:
            for batch in batches(job_ids):
                rows = connection.execute(SELECT_JOB_SUMMARY.where(jobs.c.id.in_(batch)))
                found += [as_job_summary(row) for row in rows]
        return found

    def list_jobs(
        self,
        limit: int = 20,
        after: str | None = None,
        state: JobState | None = None,
        reach: Reach = EVERYTHING,
    ) -> Page[JobSummary]:
        """Return jobs, the newest first. Raise InvalidRequest if no job with the id `after` is seen."""
        seen = _seen(reach)
        with self._read() as connection:
            follows = [] if after is None else [before(connection, jobs, after, *seen)]
            if reach.owner is None:
                states: list[list[sa.ColumnElement[bool]]] = [[] if state is None else [jobs.c.state == state]]
            else:
                states = [[jobs.c.state == one] for one in ([state] if state else JobState)]
            ids = newest_ids(connection, jobs, [(*one, *seen, *follows) for one in states], limit + 1)
            rows = connection.execute(SELECT_JOB_SUMMARY.where(jobs.c.id.in_(ids)))
            found = {row.id: as_job_summary(row) for row in rows}
            return page_of([found[key] for key in ids if key in found], limit)

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

    def unfinished_job_count(self, owner: str = DEFAULT_OWNER) -> int:
        """Return how many jobs of an owner have not ended."""
        query = sa.select(sa.func.count()).where(jobs.c.owner == owner, jobs.c.state.in_(UNFINISHED))
        with self._read() as connection:
            return connection.execute(query).scalar_one()

    def job_bytes(self, owner: str = DEFAULT_OWNER) -> int:
        """Return the size of the requests and results of an owner's jobs, as of at most `JOB_BYTES_SECONDS` ago."""
        summed_at, total = self._job_bytes.get(owner, (-math.inf, 0))
        if time.monotonic() - summed_at >= JOB_BYTES_SECONDS:
            query = sa.select(sa.func.sum(jobs.c.size_bytes)).where(jobs.c.owner == owner)
            with self._read() as connection:
                total = int(connection.execute(query).scalar_one() or 0)
            self._job_bytes[owner] = (time.monotonic(), total)
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


def _seen(reach: Reach) -> Sequence[sa.ColumnElement[bool]]:
    """Return the conditions for the jobs that are seen: the owner's, if their keys could read no more than this one."""
    if reach.collections is None:
        return made_by(jobs, reach)
    return (*made_by(jobs, reach), jobs.c.collections.in_([_sorted_json(()), _sorted_json(reach.collections)]))


def is_job_seen(job: JobSummary, reach: Reach) -> bool:
    """Return whether a job is seen, as `JobQueries` finds it."""
    within = (_sorted_json(()), _sorted_json(reach.collections or ()))
    return reach.owns(job.owner) and (reach.collections is None or job.collections in within)


def _sorted_json(names: Iterable[str]) -> str:
    return json.dumps(sorted(names))
