"""The queues, the roles of the workers that consume them, and the tasks. Each is named once, here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The role of a process. A hash in Redis lists the live processes of each role and what they serve."""

    API = "api"
    INGEST = "ingest"
    INDEX = "index"
    INFERENCE = "inference"
    MAINTENANCE = "maintenance"
    WATCHER = "watcher"
    #: `llm-api up`, which starts the workers of language models on its host when they are wanted.
    SUPERVISOR = "supervisor"


class Queue(StrEnum):
    """A queue, which workers of one role consume."""

    INGEST = "ingest"
    QUERY = "query"
    INDEX = "index"
    INFERENCE = "inference"
    BATCH = "batch"
    MAINTENANCE = "maintenance"

    @property
    def role(self) -> Role:
        return _ROLES[self]

    def of_model(self, slug: str) -> str:
        """Return the name of the queue for a language model's workers, such as `inference.qwen3-8b`.

        With "", and for the queues of other workers, it is the queue's own name. A worker that serves the default model
        consumes `inference` and `batch` too: there, jobs wait that any language model may do.
        """
        return f"{self.value}.{slug}" if slug and self.role is Role.INFERENCE else self.value


_ROLES = {
    Queue.INGEST: Role.INGEST,
    Queue.QUERY: Role.INDEX,
    Queue.INDEX: Role.INDEX,
    Queue.INFERENCE: Role.INFERENCE,
    Queue.BATCH: Role.INFERENCE,
    Queue.MAINTENANCE: Role.MAINTENANCE,
}


def queue_named(name: str) -> Queue:
    """Return the queue of this name, which may be that of one model's workers."""
    return Queue(name.partition(".")[0])


@dataclass(frozen=True)
class Task:
    """A Celery task: its registered name and its queue."""

    name: str
    queue: Queue
    #: The queue for durable jobs, if it is not `queue`.
    durable_queue: Queue | None = None

    def queue_for(self, *, durable: bool) -> Queue:
        """Return the queue in which a job waits for this task."""
        return self.durable_queue or self.queue if durable else self.queue


class Tasks:
    """All tasks of the project. `tasks.jobs.kinds` names the first task of each kind of job."""

    PARSE_DOCUMENTS = Task("ingest.parse", Queue.INGEST)
    WAKE_INDEXER = Task("index.wake", Queue.INDEX)
    SEARCH = Task("query.search", Queue.QUERY)
    RETRIEVE = Task("query.retrieve", Queue.QUERY)
    EVALUATE = Task("query.evaluate", Queue.QUERY)
    EMBED = Task("query.embed", Queue.QUERY)
    RERANK = Task("query.rerank", Queue.QUERY)
    #: Nobody waits for the tokens of a durable job, so it queues behind the interactive ones.
    GENERATE = Task("inference.generate", Queue.INFERENCE, durable_queue=Queue.BATCH)
    COMPLETE = Task("inference.complete", Queue.INFERENCE, durable_queue=Queue.BATCH)
    REWRITE = Task("inference.rewrite", Queue.INFERENCE)
    TOKENIZE = Task("inference.tokenize", Queue.INFERENCE)
    DETOKENIZE = Task("inference.detokenize", Queue.INFERENCE)
    EXPIRE = Task("maintenance.expire", Queue.MAINTENANCE)
    PULL = Task("maintenance.pull", Queue.MAINTENANCE)
    ACCEPT_DOCUMENTS = Task("maintenance.accept_documents", Queue.MAINTENANCE)
