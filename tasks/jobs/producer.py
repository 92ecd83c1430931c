"""The only producer: it sends tasks, submits and cancels jobs, and lists the live workers.

All of it blocks for up to a few seconds if Redis does not answer, so never call it on an event loop.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from typing import Any

import msgspec
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from core import events
from core.catalog import Catalog, Job, JobState, JobSummary
from core.errors import ErrorInfo, Unavailable
from core.keys import DEFAULT_OWNER
from core.models.names import model_slug
from core.settings import Settings
from tasks.jobs import scripts
from tasks.jobs.changes import ChangePublisher
from tasks.jobs.compatibility import version_info
from tasks.jobs.job_record import JobRecord
from tasks.jobs.keys import WAKE_KEY, worker_key
from tasks.jobs.kinds import JobKind, kind_named
from tasks.jobs.model_queues import ModelQueues
from tasks.jobs.queues import Queue, Role, Task, Tasks, queue_named
from tasks.jobs.records import Append, JobRecords, QueueFull
from tasks.jobs.redis_client import raise_unavailable, redis_answers
from tasks.jobs.redis_memory import RedisMemory

log = logging.getLogger(__name__)

#: How often a worker announces itself, and after how long without an announcement it counts as gone.
ANNOUNCE_SECONDS = 2.0
WORKER_TTL_SECONDS = 6.0
#: After how long without an announcement a worker is forgotten.
FORGET_WORKER_SECONDS = 3600.0
#: A job that has lost its worker this often fails, since it probably kills its workers.
MAX_JOB_ATTEMPTS = 3
#: The minimum time between two messages to the indexer.
WAKE_INTERVAL_MS = 200
#: What of an announcement says which models there are.
_MODEL_FIELDS = ("model", "models", "rerank_model", "serves_any", "alive")
#: Messages that the batch queue may hold.
MAX_BATCH_MESSAGES = 4


class Producer:
    """Sends tasks and manages jobs. Thread-safe; one per process.

    Every method raises `core.errors.Unavailable` if Redis does not answer within seconds.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.records = JobRecords(settings)
        self._redis = self.records.redis
        #: What this process announced last that clients see, by role and name.
        self._announced_models: dict[tuple[Role, str], str] = {}
        self._memory = RedisMemory(self._redis)
        self.models = ModelQueues(self.records)
        self._announce = self._redis.register_script(scripts.ANNOUNCE)
        # Given its name, Celery would look for it in the working directory first.
        import celeryconfig  # imported here: it reads this process's settings

        self._celery = Celery("llm-api-producer", config_source=celeryconfig, set_as_current=False)
        self._celery.conf.update(broker_url=settings.broker_url, broker_pool_acquire_timeout=2)

    @property
    def changes(self) -> ChangePublisher:
        """Takes hints of what this process has changed."""
        return self.records.changes

    def warm_up(self) -> None:
        """Open the connections, so that the first submission need not."""
        self.ping()
        try:
            with self._celery.producer_or_acquire() as producer:
                producer.connection.ensure_connection(max_retries=1, timeout=2)
                _ = producer.channel
        except (OperationalError, redis.RedisError, TimeoutError, OSError) as error:
            raise_unavailable(error)

    def close(self) -> None:
        """Close the connections."""
        self.changes.close()
        self._celery.close()
        self._redis.close()

    # Documents

    def ingest(self, *document_ids: str) -> bool:
        """Send a message that these documents wait to be parsed, one after the other by the same child.

        Return False if the queue is full. Reconciliation sends the message later.
        """
        with redis_answers():
            if int(self._redis.llen(Queue.INGEST.value)) >= self.max_parse_messages:
                return False
        self._send(Tasks.PARSE_DOCUMENTS, *document_ids)
        return True

    def is_ingest_queue_low(self) -> bool:
        """Return whether the queue holds less than half of `max_parse_messages`."""
        with redis_answers():
            return 2 * int(self._redis.llen(Queue.INGEST.value)) < self.max_parse_messages

    def wake_indexer(self) -> None:
        """Send a message that the indexer has something to index or to delete.

        At most one message is sent in WAKE_INTERVAL_MS. The indexer polls again that soon after a message, see
        `tasks.documents.indexing_schedule.BUSY_SECONDS`.
        """
        with redis_answers():
            if not self._redis.set(WAKE_KEY, 1, nx=True, px=WAKE_INTERVAL_MS):
                return
        self._send(Tasks.WAKE_INDEXER)

    @property
    def max_parse_messages(self) -> int:
        """The number of parse messages that the queue may hold: 10,000 queued rows must not become 10,000 messages."""
        return 4 * self._settings.parsers

    # Jobs

    def submit(
        self,
        job_id: str,
        kind: JobKind,
        request: msgspec.Struct | bytes,
        *,
        durable: bool = False,
        key: str = "",
        owner: str = DEFAULT_OWNER,
        deadline_seconds: float | None = None,
        model: str = "",
    ) -> int:
        """Write the job's record and send its first task. Return the number of jobs that wait before it.

        `model` is the slug of the language model that is to do the job; "" is whichever serves the default model.

        Raises:
            Unavailable: if Redis does not answer or is almost full, or too many interactive jobs wait. Then there is no
                record.
        """
        if not isinstance(request, kind.request | bytes):
            raise TypeError(f"A {kind.name!r} job takes a {kind.request.__name__}, not a {type(request).__name__}.")
        queue = kind.task.queue_for(durable=durable).of_model(model)
        with redis_answers():
            self._memory.require_room()
            try:
                position = self.records.submit(
                    job_id,
                    kind,
                    request,
                    durable=durable,
                    key=key,
                    owner=owner,
                    deadline_seconds=deadline_seconds,
                    model=model,
                )
            except QueueFull:
                wait = self.records.drain_seconds(queue)
                raise Unavailable(
                    f"The queue is full: {self._settings.max_queued_jobs} requests (MAX_QUEUED_JOBS) are waiting.",
                    code="queue_full",
                    retry_after_seconds=wait,
                ) from None
        self._send_job(kind.task, job_id, queue)
        return position

    def send_queued(self, record: JobRecord, task: Task) -> None:
        """Send the message of a job that a worker has queued again. If Redis does not answer, it is sent later."""
        try:
            self._send_job(task, record.job_id, task.queue_for(durable=record.durable).of_model(record.model))
        except Unavailable as error:
            log.warning("the message of job %s is left for its reader to send: %s", record.job_id, error.message)

    def feed_batch(self, queue: str | None = None) -> None:
        """Send messages for the jobs that have waited longest in a batch queue, up to MAX_BATCH_MESSAGES in it.

        Without `queue`, do so for each batch queue.

        With a message for each of a thousand batch jobs, interactive jobs would wait behind them for a worker's thread.
        A job may get two messages, but is claimed once.
        """
        if queue is None:
            batch = [name for name in self.queue_names() if queue_named(name) is Queue.BATCH]
            for name, count in self.models.waiting_counts(batch).items():
                if count:
                    self.feed_batch(name)
            return
        with redis_answers():
            room = MAX_BATCH_MESSAGES - int(self._redis.llen(queue))
            waiting = self.records.next_waiting(queue, MAX_BATCH_MESSAGES) if room > 0 else []
            states = [self.records.load(job_id) for job_id in waiting]
        for record in [record for record in states if record and record.state == "queued"][:room]:
            self._send(record.task, record.job_id, queue=queue)

    def cancel(self, job_id: str) -> bool:
        """Cancel a job. A waiting job ends at once, a running one within an engine step.

        Return False if the job is done or unknown.
        """
        with redis_answers():
            if not self.records.cancel(job_id):
                return False
            record = self.records.load(job_id)
            if record and record.state == "queued":
                cancelled = events.Cancelled(job_id=job_id, attempt=record.attempt, created=time.time())
                self.records.append(Append(job_id, record.attempt, [cancelled], record.queue_name))
            return True

    def revive(self, job_id: str) -> bool:
        """Send a job again if its worker was lost or its message may be lost, and return whether it was sent.

        A job whose worker has been lost MAX_JOB_ATTEMPTS times fails. A job that waits never does: a worker may have
        prefetched its message. If the message is there twice, the second one finds the job taken.
        """
        with redis_answers():
            record = self.records.load(job_id)
            if record is None or record.done or record.kind.result_when_settled:
                return False  # no worker runs a job that only waits for something else to end
            if not (self._may_resend(record) if record.state == "queued" else self._replace_if_lost(record)):
                return False
        self._send(record.task, job_id, queue=record.queue_name)
        return True

    def fail_unserved(self, job_id: str) -> None:
        """Fail a job because no worker is running that could serve it."""
        with redis_answers():
            record = self.records.load(job_id)
            if record and not record.done:
                message = "No worker is running that could serve this request. Try again in a moment."
                self._end(record, ErrorInfo(message, Unavailable.type, None, "no_worker", 503))

    def position(self, job_id: str) -> int | None:
        """Return the number of jobs that wait before this one, or None if it does not wait."""
        with redis_answers():
            record = self.records.load(job_id)
            return self.records.position(record) if record else None

    def _may_resend(self, record: JobRecord) -> bool:
        # `feed_batch` sends the message of a batch job when the job is among the first.
        return record.queue is not Queue.BATCH and self.records.may_resend(record)

    def _replace_if_lost(self, record: JobRecord) -> bool:
        """Begin a new attempt at a job whose worker is lost. Return False if it is not, or was lost too often."""
        if not self.records.is_lost(record):
            return False
        if record.lost_attempts + 1 >= MAX_JOB_ATTEMPTS:
            self._give_up(record)
            return False
        return self.records.retry(record) is not None

    def _give_up(self, record: JobRecord) -> None:
        message = f"The worker that ran this request was lost {record.lost_attempts + 1} times."
        self._end(record, ErrorInfo(message, "server_error", None, "worker_lost", 500))

    def _end(self, record: JobRecord, error: ErrorInfo) -> None:
        failed = events.Failed(job_id=record.job_id, attempt=record.attempt, created=time.time(), error=error)
        self.records.append(Append(record.job_id, record.attempt, [failed], record.queue_name))

    # Durable jobs: catalog row and record

    def resubmit(self, job: Job) -> None:
        """Create the record of a durable job again from its catalog row, and send its first task."""
        kind, request = kind_named(job.kind), job.request.encode()
        self.submit(job.id, kind, request, durable=True, key=job.key or "", owner=job.owner, model=self._model_of(job))

    def _model_of(self, job: Job) -> str:
        """Return the slug of the model of a job; of one that was made while Redis did not answer, by the name it asks.

        Of an unknown model, that is "".
        """
        needs_model = any(task.queue.role is Role.INFERENCE for task in kind_named(job.kind).tasks)
        if job.model or not needs_model:
            return job.model
        name = str(json.loads(job.request).get("model") or "")
        known = known_slugs(self.workers(Role.INFERENCE).values(), self.workers(Role.SUPERVISOR).values())
        return next((slug for slug in map(model_slug, (name, name.partition("@")[0])) if slug in known), "")

    def settle_from_record(self, catalog: Catalog, job: JobSummary) -> bool:
        """Write the end of a job from its record into the catalog, which a worker that died could not do.

        Return whether the row was changed.
        """
        with redis_answers():
            replay = self.records.replay(job.id)
        last = replay[-1][1] if replay else None
        if isinstance(last, events.Failed):
            error = json.dumps({**last.error.as_wire(), "status": last.error.status})
            return catalog.finish_job(job.id, JobState.FAILED, error=error)
        if isinstance(last, events.Cancelled):
            return catalog.finish_job(job.id, JobState.CANCELLED)
        return False

    # Workers and queues

    def announce(self, role: Role, name: str, info: dict[str, Any]) -> None:
        """Announce that a process of this role is alive, and what it serves, in Redis and by its HEARTBEAT_FILE."""
        with redis_answers():
            # By the clock of this host: to a process of the same host, it shows whether this worker is a new one.
            sent = json.dumps({"sent_at": time.time(), **version_info(), **info})
            self._announce(keys=[worker_key(role)], args=[name, sent])
        models = json.dumps([info.get(name) for name in _MODEL_FIELDS])
        if models != self._announced_models.get((role, name)):
            self._announced_models[role, name] = models
            self.changes({"models": ()})
        if self._settings.heartbeat_file is not None:
            self._settings.heartbeat_file.touch()

    def withdraw(self, role: Role, name: str) -> None:
        """Remove the announcement of a worker that takes no more work."""
        with redis_answers():
            self._redis.hdel(worker_key(role), name)
        self.changes({"models": ()})

    def workers(self, role: Role) -> dict[str, dict[str, Any]]:
        """Return the last announcement of each live worker of a role, by name."""
        with redis_answers():
            return live_workers(*self._announced(role))

    def forget_dead_workers(self) -> None:
        """Remove the announcements of workers that died over an hour ago. Their names do not come back."""
        with redis_answers():
            for role in Role:
                announced, clock = self._announced(role)
                kept = live_workers(announced, clock, FORGET_WORKER_SECONDS)
                dead = [name for name in announced if name.decode() not in kept]
                if dead:
                    self._redis.hdel(worker_key(role), *dead)

    def _announced(self, role: Role) -> tuple[dict[bytes, bytes], tuple[int, int]]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(worker_key(role))
        pipeline.time()
        announced, clock = pipeline.execute()
        return announced, clock

    def queue_names(self) -> list[str]:
        """Return the names of all queues: of each language model too, if it is loaded or can be."""
        slugs = known_slugs(self.workers(Role.INFERENCE).values(), self.workers(Role.SUPERVISOR).values())
        return [*Queue, *(queue.of_model(slug) for slug in sorted(slugs) for queue in (Queue.INFERENCE, Queue.BATCH))]

    def queue_lengths(self) -> dict[str, int]:
        """Return the number of messages in each queue, by its name."""
        names = self.queue_names()
        with redis_answers():
            pipeline = self._redis.pipeline(transaction=False)
            for name in names:
                pipeline.llen(name)
            return {str(name): int(length) for name, length in zip(names, pipeline.execute(), strict=True)}

    def ping(self) -> None:
        """Raise `Unavailable` unless Redis answers."""
        with redis_answers():
            self._redis.ping()

    def check_room(self) -> None:
        """Raise `Unavailable` unless Redis answers and has room for a new job."""
        with redis_answers():
            self._memory.require_room()

    def _send_job(self, task: Task, job_id: str, queue: str) -> None:
        if queue_named(queue) is Queue.BATCH:
            self.feed_batch(queue)
        else:
            self._send(task, job_id, queue=queue)

    def _send(self, task: Task, *args: str, queue: str | None = None) -> None:
        # The queue is always passed, as a kind may have been registered after Celery read the routes.
        name = queue or task.queue
        try:
            self._celery.send_task(task.name, args=list(args), queue=str(name), retry=False, ignore_result=True)
        except (OperationalError, redis.RedisError, TimeoutError, OSError) as error:
            raise_unavailable(error)


def known_slugs(workers: Iterable[dict[str, Any]], supervisors: Iterable[dict[str, Any]]) -> set[str]:
    """Return the slugs of the language models that live workers serve, or that a live supervisor could load."""
    on_disk = [model for info in supervisors for model in info.get("models", ())]
    loadable = {model["slug"] for model in on_disk if model["loadable"]}
    return loadable | {info["slug"] for info in workers if info.get("slug")}


def live_workers(
    raw: dict[bytes, bytes], clock: tuple[int, int], max_age_seconds: float = WORKER_TTL_SECONDS
) -> dict[str, dict[str, Any]]:
    """Return the announcements that are at most `max_age_seconds` old by Redis's clock, by worker name."""
    seconds, microseconds = clock
    oldest = seconds + microseconds / 1e6 - max_age_seconds
    announced = {name.decode(): json.loads(value) for name, value in raw.items()}
    return {name: info for name, info in announced.items() if info["at"] >= oldest}
