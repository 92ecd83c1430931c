"""The background threads of a worker: they announce it, renew its jobs' heartbeats, and receive cancellations."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from redis import RedisError

from core.errors import Unavailable
from tasks.jobs.keys import CANCEL_CHANNEL
from tasks.jobs.producer import ANNOUNCE_SECONDS, Producer
from tasks.jobs.queues import Role
from tasks.jobs.records import HEARTBEAT_SECONDS, JobRecords

log = logging.getLogger(__name__)

Info = dict[str, object]


class JobHeartbeats:
    """Renews the heartbeats of the jobs that this worker runs, and calls a job's `on_cancel` once it is cancelled."""

    def __init__(self, records: JobRecords) -> None:
        self._records = records
        self._jobs: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="job-heartbeats", daemon=True)
        self._thread.start()

    def add(self, job_id: str, on_cancel: Callable[[], None]) -> None:
        """Renew the heartbeat of this job from now on. The claim has just set the first one."""
        with self._lock:
            self._jobs[job_id] = on_cancel

    def remove(self, job_id: str) -> None:
        """Stop renewing the heartbeat of this job."""
        with self._lock:
            self._jobs.pop(job_id, None)

    def close(self) -> None:
        """Stop the thread."""
        self._stopping.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        # Not tenacity: it checks its stop condition before a sleep only, so it would connect once more after `close`.
        while not self._stopping.is_set():
            try:
                self._renew_and_listen()
            except (RedisError, OSError) as error:
                log.warning("heartbeats: Redis does not answer: %s", error)
                self._stopping.wait(0.5)

    def _renew_and_listen(self) -> None:
        with self._records.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe(CANCEL_CHANNEL)
            due = 0.0
            while not self._stopping.is_set():
                now = time.monotonic()
                if now >= due:
                    due = now + HEARTBEAT_SECONDS
                    with self._lock:
                        job_ids = list(self._jobs)
                    if job_ids:
                        self._records.renew_heartbeats(job_ids)
                message = pubsub.get_message(timeout=min(0.5, max(0.01, due - now)))
                if message and message["type"] == "message":
                    self._cancel(message["data"].decode())

    def _cancel(self, job_id: str) -> None:
        with self._lock:
            on_cancel = self._jobs.get(job_id)
        if on_cancel:
            on_cancel()


class Announcer:
    """Announces every ANNOUNCE_SECONDS that this worker is alive, and what it serves."""

    def __init__(self, producer: Producer, role: Role, name: str, info: Callable[[], Info]) -> None:
        self._producer, self._role, self._name, self._info = producer, role, name, info
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
            self._producer.withdraw(self._role, self._name)
        except Unavailable as error:
            log.warning("could not withdraw: %s", error.message)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._producer.announce(self._role, self._name, self._info())
            except Unavailable as error:
                log.warning("could not announce: %s", error.message)
            self._stopping.wait(ANNOUNCE_SECONDS)
