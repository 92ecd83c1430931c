"""Reconciliation: whatever a crash or a lost message left behind goes on."""

from __future__ import annotations

import logging
import time
from pkgutil import resolve_name

import msgspec

from core import events
from core.blobs import BlobStore
from core.catalog import Catalog, DocumentState, Job, JobState
from core.settings import Settings
from tasks.documents.dispatch import send_waiting
from tasks.jobs.producer import Producer
from tasks.jobs.records import Append, JobRecord
from tasks.jobs.runner import JobResult

log = logging.getLogger(__name__)

#: Asynchronous jobs looked at in one pass.
JOBS_PER_PASS = 1000
DELETED_RETENTION_SECONDS = 86_400
#: An upload that takes longer has been given up.
STAGING_RETENTION_SECONDS = 3600


class Reconciliation:
    """Runs the maintenance tasks; there is exactly one of it."""

    def __init__(self, settings: Settings, catalog: Catalog, blobs: BlobStore, producer: Producer) -> None:
        self._settings = settings
        self._blobs = blobs
        self._catalog = catalog
        self._producer = producer

    def reconcile(self) -> None:
        """One pass over documents and asynchronous jobs."""
        sent = send_waiting(self._catalog, self._producer)
        counts = self._catalog.counts_by_state()
        if counts.get(DocumentState.PARSED.value) or counts.get(DocumentState.DELETING.value):
            self._producer.wake_indexer()
        if sent:
            log.info("%d documents were sent to be parsed", sent)
        for job in self._catalog.unfinished_jobs(JOBS_PER_PASS):
            self._reconcile_job(job)
        self._producer.feed_batch()

    def accept_documents(self, job_id: str) -> None:
        """Tells the client of a documents job that it is under way; it ends when its documents have."""
        record = self._producer.records.load(job_id)
        if record is None or record.done:
            return
        self._catalog.set_job_running(job_id, record.attempt)
        accepted = events.Accepted(job_id=job_id, attempt=record.attempt, created=time.time(), model="")
        self._producer.records.append(Append(job_id, record.attempt, [accepted], record.queue, "running"))

    def expire(self) -> None:
        """Removes rows that nobody can want any more."""
        self._catalog.purge_jobs(self._settings.job_retention_seconds)
        self._catalog.purge_deleted(DELETED_RETENTION_SECONDS)
        self._catalog.purge_collections()
        self._blobs.sweep_staging(STAGING_RETENTION_SECONDS)

    def _reconcile_job(self, job: Job) -> None:
        record = self._producer.records.load(job.id)
        if record is None:
            self._producer.resubmit(job)
        elif record.done:
            self._settle(job)
        elif record.kind.result_when_settled:
            self._finish_if_settled(job, record)
        elif self._producer.revive(job.id):
            log.warning("job %s was lost and is sent again", job.id)

    def _settle(self, job: Job) -> None:
        """The job has its terminal event, but the row does not know: its worker died in between, or it was given up."""
        if not self._producer.settle_from_record(self._catalog, job):
            log.error("job %s ended without an event that says how", job.id)
            self._catalog.finish_job(job.id, JobState.FAILED, error=_LOST)

    def _finish_if_settled(self, job: Job, record: JobRecord) -> None:
        """End a job that no worker holds, once what it waits for has ended."""
        result = resolve_name(str(record.kind.result_when_settled))(self._catalog, job)
        if result is None:
            return
        encoded = msgspec.json.encode(JobResult(result=result)).decode()
        self._catalog.finish_job(job.id, JobState.COMPLETED, result=encoded)
        finished = events.Finished(job_id=job.id, attempt=record.attempt, created=time.time(), result=result)
        self._producer.records.append(Append(job.id, record.attempt, [finished], record.queue))


_LOST = '{"message": "The job was lost.", "type": "server_error", "param": null, "code": "job_lost", "status": 500}'
