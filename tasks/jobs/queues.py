"""Queues, the workers that consume them, and the tasks that travel through them. Each is named once, here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """A process' role. Its key in Redis shows which processes of that role are alive and what they serve."""

    INGEST = "ingest"
    INDEX = "index"
    INFERENCE = "inference"
    MAINTENANCE = "maintenance"
    WATCHER = "watcher"


class Queue(StrEnum):
    """A queue and, by it, the role of the workers that consume it."""

    INGEST = "ingest"
    QUERY = "query"
    INDEX = "index"
    INFERENCE = "inference"
    BATCH = "batch"
    MAINTENANCE = "maintenance"

    @property
    def role(self) -> Role:
        return _ROLES[self]


_ROLES = {
    Queue.INGEST: Role.INGEST,
    Queue.QUERY: Role.INDEX,
    Queue.INDEX: Role.INDEX,
    Queue.INFERENCE: Role.INFERENCE,
    Queue.BATCH: Role.INFERENCE,
    Queue.MAINTENANCE: Role.MAINTENANCE,
}


@dataclass(frozen=True)
class Task:
    """A Celery task by its registered name, with its queue."""

    name: str
    queue: Queue
    #: Where the task of a durable job waits, if not in `queue`.
    durable_queue: Queue | None = None

    def queue_for(self, *, durable: bool) -> Queue:
        """Return the queue in which a job waits for this task."""
        return self.durable_queue or self.queue if durable else self.queue


class Tasks:
    """Every task of the project. A job of a kind starts with the task that `tasks.jobs.kinds` names."""

    PARSE_DOCUMENTS = Task("ingest.parse", Queue.INGEST)
    WAKE_INDEXER = Task("index.wake", Queue.INDEX)
    SEARCH = Task("query.search", Queue.QUERY)
    RETRIEVE = Task("query.retrieve", Queue.QUERY)
    EMBED = Task("query.embed", Queue.QUERY)
    #: Nobody waits for the tokens of a durable job, so it is queued behind those that somebody reads.
    GENERATE = Task("inference.generate", Queue.INFERENCE, durable_queue=Queue.BATCH)
    REWRITE = Task("inference.rewrite", Queue.INFERENCE)
    RECONCILE = Task("maintenance.reconcile", Queue.MAINTENANCE)
    EXPIRE = Task("maintenance.expire", Queue.MAINTENANCE)
    ACCEPT_DOCUMENTS = Task("maintenance.accept_documents", Queue.MAINTENANCE)
