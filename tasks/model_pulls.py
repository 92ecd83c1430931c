"""Runs jobs that download models, in threads beside the other work of the maintenance worker."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from core import events
from core.messages import PullRequest
from core.models.hub import Reference
from core.models.names import model_slug
from core.models.pull import PullStopped, pull_model
from core.settings import Settings
from tasks.jobs.model_queues import wait_until_known
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Tasks
from tasks.jobs.runner import JobCancelled, JobResult, JobRunner, RunningJob

#: Further pulls wait.
PULLS_AT_ONCE = 2
#: The pause between two events of progress, and how many a job has at most, as its replay keeps them.
PROGRESS_SECONDS = 0.5
MOST_PROGRESS_EVENTS = 1000
#: How long a further attempt waits for the former one, which may be in a thread that is about to stop.
LOCK_WAIT_SECONDS = 30.0


class ModelPulls:
    """Runs `maintenance.pull`."""

    def __init__(self, settings: Settings, producer: Producer, runner: JobRunner) -> None:
        self._settings, self._producer, self._runner = settings, producer, runner
        self._pool = ThreadPoolExecutor(PULLS_AT_ONCE, thread_name_prefix="pull")
        #: The jobs that wait for a thread: their messages may come again.
        self._waiting: set[str] = set()

    def start(self, job_id: str) -> None:
        """Download the model of a job as soon as a thread is free."""
        if job_id not in self._waiting:
            self._waiting.add(job_id)
            self._pool.submit(self._run, job_id)

    def close(self) -> None:
        """Stop all downloads. Their jobs are queued for the next worker, which goes on with them."""
        self._runner.release_all()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, job_id: str) -> None:
        self._waiting.discard(job_id)
        stop = threading.Event()
        self._runner.run(job_id, Tasks.PULL, partial(self._pull, stop), on_cancel=stop.set)

    def _pull(self, stop: threading.Event, job: RunningJob) -> None:
        reference = Reference.parse(job.request(PullRequest).model)
        job.emit(events.Accepted(**job.event_fields(), model=str(reference)), state="running")
        wait = LOCK_WAIT_SECONDS if job.record.attempt > 1 else 0.0
        try:
            pulled = pull_model(reference, self._settings, _Progress(job), stop, lock_wait_seconds=wait)
        except PullStopped:
            raise JobCancelled("cancelled") from None
        wait_until_known(self._producer, model_slug(pulled.name), stop)
        result = {
            "object": "model.pull",
            "model": pulled.name,
            "repository": pulled.repo,
            "revision": pulled.revision,
            "files": list(pulled.files),
            "bytes": pulled.bytes,
        }
        self._runner.complete(job, JobResult(model=pulled.name, result=result))


class _Progress:
    """Emits events of a job's progress, not too many."""

    def __init__(self, job: RunningJob) -> None:
        self._job = job
        self._next_at = 0.0
        self._next_bytes = 0

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        """Report the progress. Raise `JobCancelled` if the job has been cancelled, or its time is over."""
        self._job.check()
        now = time.monotonic()
        if done_bytes < total_bytes and (now < self._next_at or done_bytes < self._next_bytes):
            return
        self._next_at, self._next_bytes = now + PROGRESS_SECONDS, done_bytes + total_bytes // MOST_PROGRESS_EVENTS
        self._job.emit(events.Progress(**self._job.event_fields(), done_bytes=done_bytes, total_bytes=total_bytes))
