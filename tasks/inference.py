"""Work of the inference workers."""

from __future__ import annotations

from typing import Any

from tasks.app import celery_app
from tasks.jobs.names import Queue, Task
from tasks.services import services


@celery_app.task(name=Task.REWRITE)
def rewrite(job_id: str) -> None:
    """Rewrites the follow-up question of a RAG chat, which then goes on to the search."""
    services().generation.rewrite(job_id)


@celery_app.task(name=Task.GENERATE, bind=True)
def generate(self: Any, job_id: str) -> None:
    """Answers a chat or RAG chat: submits it to the engine and waits."""
    services().generation.generate(job_id, Queue(self.request.delivery_info["routing_key"]))
