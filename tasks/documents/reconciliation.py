"""Reconciliation: resumes documents and jobs that a crash or a lost message has left unfinished."""

from __future__ import annotations

import logging
import threading
import time
from pkgutil import resolve_name

import msgspec

from core import events
from core.blobs import BlobStore
from core.catalog import Catalog, JobState, JobSummary
from core.disk import DiskSpace
from core.errors import LlmApiError, Unavailable
from core.models.pull import remove_old_partial_files
from core.settings import Settings
from tasks.documents.dispatch import send_waiting
from tasks.jobs.job_record import JobRecord
from tasks.jobs.metric_store import MetricStore
from tasks.jobs.producer import Producer
from tasks.jobs.records import Append
from tasks.jobs.runner import JobResult

log = logging.getLogger(__name__)

#: The pause between two passes.
RECONCILE_SECONDS = 5.0
#: Durable jobs that one pass examines; the next pass examines those that follow.
JOBS_PER_PASS = 1000
#: An upload that is not complete after this time has been abandoned.
STAGING_RETENTION_SECONDS = 3600
#: A download of a model to which nothing was added for this long has been given up.
PARTIAL_RETENTION_SECONDS = 7 * 86400


class Reconciliation:
    """The work of the maintenance worker. There is one per deployment.

    Its passes run on a thread, not as tasks that beat sends: messages would take several times as long as the passes,
    which mostly find nothing.
    """

    def __init__(self, settings: Settings, catalog: Catalog, blobs: BlobStore, producer: Producer) -> None:
        self._settings = settings
        self._disk = DiskSpace(settings)
        self._blobs = blobs
        self._catalog = catalog
        self._producer = producer
        self._last_job: JobSummary | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciliation", daemon=True)

    def start(self) -> None:
        """Start the thread that makes a pass every RECONCILE_SECONDS."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the present pass."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.reconcile()
            except LlmApiError as error:
                log.warning("reconciliation is tried again: %s", error.message)
            except Exception:  # a fault in one pass must not end the others
                log.exception("a pass of reconciliation failed")
            self._stopping.wait(RECONCILE_SECONDS)

    def reconcile(self) -> None:
        """Send messages for waiting documents, and revive or settle durable jobs."""
        is_short = self._disk.is_short()
        sent = 0 if is_short else send_waiting(self._catalog, self._producer)
        if sent:
            log.info("%d documents have been sent to be parsed", sent)
        self._reconcile_jobs()
        if not is_short:
            self._producer.feed_batch()
        self._catalog.compact_counts()

    def accept_documents(self, job_id: str) -> None:
        """Set a documents job running. It ends when its documents have ended."""
        record = self._producer.records.load(job_id)
        if record is None or record.done:
            return
        self._catalog.set_job_running(job_id, record.attempt)
        accepted = events.Accepted(job_id=job_id, attempt=record.attempt, created=time.time(), model="")
        self._producer.records.append(Append(job_id, record.attempt, [accepted], record.queue_name, "running"))

    def expire(self) -> dict[str, int]:
        """Remove jobs, collections, keys, usage, uploads and partial downloads whose time is over.

        The index worker removes deleted documents. Return how many were removed of each, without what had none.
        """
        self._producer.forget_dead_workers()
        MetricStore(self._producer.records.redis).fold()
        removed = {
            "jobs": self._catalog.purge_jobs(self._settings.job_retention_seconds),
            "collections": self._catalog.purge_collections(),
            "keys": self._catalog.purge_keys(),
            "days of usage": self._catalog.purge_usage(),
            "uploads": self._blobs.sweep_staging(STAGING_RETENTION_SECONDS),
            "downloads": remove_old_partial_files(self._settings, PARTIAL_RETENTION_SECONDS),
        }
        return {what: number for what, number in removed.items() if number}

    def _reconcile_jobs(self) -> None:
        jobs = self._catalog.unfinished_jobs(JOBS_PER_PASS, after=self._last_job)
        self._last_job = jobs[-1] if len(jobs) == JOBS_PER_PASS else None
        records = self._producer.records.load_many([job.id for job in jobs])
        for job, record in zip(jobs, records, strict=True):
            self._reconcile_job(job, record)

    def _reconcile_job(self, job: JobSummary, record: JobRecord | None) -> None:
        if record is None:
            self._resubmit(job)
        elif record.done:
            self._settle(job)
        elif record.kind.result_when_settled:
            self._finish_if_settled(job, record)
        elif self._producer.revive(job.id):
            log.warning("job %s has been sent again, as its worker or its message may be lost", job.id)

    def _resubmit(self, job: JobSummary) -> None:
        try:
            self._producer.resubmit(self._catalog.get_job(job.id))
        except Unavailable as error:
            if error.code != "redis_full":
                raise
            log.warning("job %s is submitted later: %s", job.id, error.message)  # the others of this pass go on

    def _settle(self, job: JobSummary) -> None:
        """Copy the end of a job from its record to its row, since its worker died in between or was lost too often."""
        if not self._producer.settle_from_record(self._catalog, job):
            log.error("job %s is done, but its replay does not say how it ended", job.id)
            self._catalog.finish_job(job.id, JobState.FAILED, error=_LOST)

    def _finish_if_settled(self, job: JobSummary, record: JobRecord) -> None:
        """Complete a job that no worker runs, once everything that it waits for has ended."""
        result = resolve_name(str(record.kind.result_when_settled))(self._catalog, self._catalog.get_job(job.id))
        if result is None:
            return
        encoded = msgspec.json.encode(JobResult(result=result)).decode()
        self._catalog.finish_job(job.id, JobState.COMPLETED, result=encoded)
        finished = events.Finished(job_id=job.id, attempt=record.attempt, created=time.time(), result=result)
        self._producer.records.append(Append(job.id, record.attempt, [finished], record.queue_name))


_LOST = '{"message": "The job was lost.", "type": "server_error", "param": null, "code": "job_lost", "status": 500}'
