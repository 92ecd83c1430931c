"""The Celery tasks. Each passes its message to a service of this process, which does the work.

A message carries ids only. The catalog or the job's record holds what must not be lost.
"""

from __future__ import annotations

from typing import Any

from billiard.exceptions import WorkerLostError
from celery.exceptions import TimeLimitExceeded
from celery.signals import task_failure

from core.threads import PREPARING_NICE, let_others_go_first
from tasks.app import celery_app
from tasks.jobs.queues import Tasks
from tasks.services import services

#: Options of tasks that nobody asked for: Flower shows them only if they fail or return something.
_QUIET: dict[str, Any] = {"send_events": False, "Request": "tasks.jobs.quiet_requests:QuietRequest"}

# Ingest workers: parsing, in children that may be killed.


@celery_app.task(name=Tasks.PARSE_DOCUMENTS.name)
def parse(*document_ids: str) -> None:
    """Parse and chunk documents, one after the other."""
    services().parsing.parse(*document_ids)


@task_failure.connect(sender=parse)
def _child_lost(args: Any = None, exception: BaseException | None = None, **_: Any) -> None:
    """Release the documents of a child that the time limit or the kernel has killed. This runs in the parent."""
    if isinstance(exception, WorkerLostError | TimeLimitExceeded):
        services().parsing.child_lost(args, str(exception))


# The index worker: indexing, searches, embeddings and reranking.


@celery_app.task(name=Tasks.WAKE_INDEXER.name, **_QUIET)
def wake_indexer() -> None:
    """Tell the indexer that there is something to index or to delete."""
    services().indexer.wake()


@celery_app.task(name=Tasks.SEARCH.name)
def search(job_id: str) -> None:
    """Find the chunks that a search job asks for."""
    services().query.search(job_id)


@celery_app.task(name=Tasks.RETRIEVE.name)
def retrieve(job_id: str) -> None:
    """Find the chunks for a RAG chat, which continues at an inference worker."""
    services().query.retrieve(job_id)


@celery_app.task(name=Tasks.EVALUATE.name)
def evaluate(job_id: str) -> None:
    """Search for the questions of an evaluation job, and measure what is found."""
    services().query.evaluate(job_id)


@celery_app.task(name=Tasks.EMBED.name)
def embed(job_id: str) -> None:
    """Embed the inputs of a job."""
    services().query.embed(job_id)


@celery_app.task(name=Tasks.RERANK.name)
def rerank(job_id: str) -> None:
    """Score the documents of a job by how well each answers its query."""
    services().query.rerank(job_id)


# Inference workers: generation.


@celery_app.task(name=Tasks.REWRITE.name)
def rewrite(job_id: str) -> None:
    """Rewrite the follow-up question of a RAG chat, which then returns to retrieval."""
    let_others_go_first(PREPARING_NICE)
    services().generation.rewrite(job_id)


@celery_app.task(name=Tasks.GENERATE.name, bind=True)
def generate(self: Any, job_id: str) -> None:
    """Answer a chat or RAG chat."""
    let_others_go_first(PREPARING_NICE)
    services().generation.generate(job_id, self.request.delivery_info["routing_key"])


@celery_app.task(name=Tasks.COMPLETE.name, bind=True)
def complete(self: Any, job_id: str) -> None:
    """Continue the prompts of a raw completion."""
    let_others_go_first(PREPARING_NICE)
    services().generation.complete(job_id, self.request.delivery_info["routing_key"])


@celery_app.task(name=Tasks.TOKENIZE.name)
def tokenize(job_id: str) -> None:
    """Return the token ids of a text or of a chat's prompt."""
    let_others_go_first(PREPARING_NICE)
    services().generation.tokens.tokenize(job_id)


@celery_app.task(name=Tasks.DETOKENIZE.name)
def detokenize(job_id: str) -> None:
    """Return the text of tokens."""
    let_others_go_first(PREPARING_NICE)
    services().generation.tokens.detokenize(job_id)


# The maintenance worker. Beat sends the first one.


@celery_app.task(name=Tasks.EXPIRE.name, **_QUIET)
def expire() -> dict[str, int] | None:
    """Remove rows and files of what was deleted or finished long ago. Return how many of each, or None."""
    return services().reconciliation.expire() or None


@celery_app.task(name=Tasks.PULL.name)
def pull(job_id: str) -> None:
    """Download a model from the hub, in a thread of its own: this worker runs one task at a time."""
    services().pulls.start(job_id)


@celery_app.task(name=Tasks.ACCEPT_DOCUMENTS.name)
def accept_documents(job_id: str) -> None:
    """Accept a documents job. It ends when all of its documents have ended."""
    services().reconciliation.accept_documents(job_id)
