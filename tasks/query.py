"""Interactive work of the index worker: searches and embeddings."""

from __future__ import annotations

from tasks.app import celery_app
from tasks.jobs.names import Task
from tasks.services import services


@celery_app.task(name=Task.SEARCH)
def search(job_id: str) -> None:
    """Searches for a job; a RAG chat goes on to the inference worker with what was found."""
    services().query.search(job_id)


@celery_app.task(name=Task.EMBED)
def embed(job_id: str) -> None:
    """Embeds the inputs of a job."""
    services().query.embed(job_id)
