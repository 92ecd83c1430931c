"""The background threads of a worker: they announce it, renew its jobs' heartbeats, and receive cancellations."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from redis import RedisError

from core.errors import Unavailable
from tasks.jobs.compatibility import incompatible_processes, refusal
from tasks.jobs.job_record import JobRecord
from tasks.jobs.keys import CANCEL_CHANNEL
from tasks.jobs.metric_store import MetricPublisher
from tasks.jobs.producer import ANNOUNCE_SECONDS, Producer
from tasks.jobs.queues import Role
from tasks.jobs.records import HEARTBEAT_SECONDS, JobRecords

log = logging.getLogger(__name__)

Info = dict[str, object]


class OnStop(Protocol):
    """Stops the work on a job that was cancelled or, if it is `replaced`, that another worker has."""

    def __call__(self, *, replaced: bool) -> None: ...


class JobHeartbeats:
    """Renews the heartbeats of the jobs that this worker runs, and stops those that it should no longer run."""

    def __init__(self, records: JobRecords) -> None:
        self._records = records
        #: By claim.
        self._jobs: dict[str, tuple[JobRecord, OnStop]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="job-heartbeats", daemon=True)
        self._thread.start()

    def add(self, record: JobRecord, on_stop: OnStop) -> None:
        """Renew the heartbeat of this job from now on. The claim has just set the first one."""
        with self._lock:
            self._jobs[record.claim] = record, on_stop

    def remove(self, record: JobRecord) -> None:
        """Stop renewing the heartbeat of this job."""
        with self._lock:
            self._jobs.pop(record.claim, None)

    def close(self) -> None:
        """Stop the thread."""
        self._stopping.set()
        with suppress(RedisError, OSError):
            # Wakes the thread, and does nothing in other workers. Without it, the thread ends at its next heartbeat.
            self._records.redis.publish(CANCEL_CHANNEL, "")
        self._thread.join(timeout=5)

    def _run(self) -> None:
        # Not tenacity: it checks its stop condition before a sleep only, so it would connect once more after `close`.
        while not self._stopping.is_set():
            try:
                self._renew_and_listen()
            except (RedisError, OSError) as error:
                log.warning("heartbeats: Redis does not answer: %s", error)
                self._stopping.wait(0.5)
            except Exception:  # without heartbeats, all jobs of this worker would be taken for lost
                log.exception("heartbeats failed, and go on")
                self._stopping.wait(0.5)

    def _renew_and_listen(self) -> None:
        with self._records.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe(CANCEL_CHANNEL)
            due = 0.0
            while not self._stopping.is_set():
                now = time.monotonic()
                if now >= due:
                    due = now + HEARTBEAT_SECONDS
                    self._renew()
                message = pubsub.get_message(timeout=max(0.01, due - now))
                if message and message["type"] == "message":
                    self._cancel(message["data"].decode())

    def _renew(self) -> None:
        with self._lock:
            jobs = list(self._jobs.values())
        current = self._records.renew_heartbeats([record for record, _ in jobs])
        for (record, on_stop), is_current in zip(jobs, current, strict=True):
            if not is_current:
                self._stop(record, on_stop, replaced=True)

    def _cancel(self, job_id: str) -> None:
        with self._lock:
            jobs = [job for job in self._jobs.values() if job[0].job_id == job_id]
        for record, on_stop in jobs:
            self._stop(record, on_stop, replaced=False)

    def _stop(self, record: JobRecord, on_stop: OnStop, *, replaced: bool) -> None:
        try:
            on_stop(replaced=replaced)
        except Exception:  # it may raise anything, and must not end the heartbeats of the other jobs
            log.exception("job %s could not be stopped", record.job_id)


class Announcer:
    """Announces every ANNOUNCE_SECONDS that this worker is alive, and what it serves. Publishes its metrics too."""

    def __init__(
        self,
        producer: Producer,
        role: Role,
        name: str,
        info: Callable[[], Info],
        publisher: MetricPublisher | None = None,
    ) -> None:
        """
        Args:
            publisher: Of the announcers of a process, one has it: its metrics are published once.
        """
        self._producer, self._role, self._name, self._info = producer, role, name, info
        self._publisher = publisher
        self._has_looked = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"announce-{role}", daemon=True)

    def start(self) -> None:
        """Start the thread that announces."""
        self._thread.start()

    def withdraw(self) -> None:
        """Stop announcing, and say at once that this worker takes no more work."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        try:
            if self._publisher is not None:
                self._publisher.publish(is_ending=True)
            self._producer.withdraw(self._role, self._name)
        except Unavailable as error:
            log.warning("could not withdraw: %s", error.message)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._producer.announce(self._role, self._name, self._info())
                if not self._has_looked:
                    self._end_beside_others()
                if self._publisher is not None:
                    self._publisher.publish_if_due()
            except Unavailable as error:
                log.warning("could not announce: %s", error.message)
            except Exception:  # a worker that does not announce itself counts as dead
                log.exception("%s could not announce itself", self._name)
            self._stopping.wait(ANNOUNCE_SECONDS)

    def _end_beside_others(self) -> None:
        """End this process if one of an incompatible release has started at the same time."""
        found = incompatible_processes(self._producer)
        self._has_looked = True
        if found:
            log.critical("%s", refusal(found))
            self.withdraw()
            os.kill(os.getpid(), signal.SIGTERM)
