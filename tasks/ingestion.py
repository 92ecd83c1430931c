"""Work of the ingest workers: one file in one killable child process."""

from __future__ import annotations

from typing import Any

from billiard.exceptions import WorkerLostError
from celery.exceptions import TimeLimitExceeded
from celery.signals import task_failure

from tasks.app import celery_app
from tasks.jobs.names import Task
from tasks.services import services


@celery_app.task(name=Task.PARSE_DOCUMENT)
def parse(*document_ids: str) -> None:
    """Parses and chunks documents, one after the other."""
    services().parsing.parse(*document_ids)


@task_failure.connect(sender=parse)
def _child_lost(args: Any = None, exception: BaseException | None = None, **_: Any) -> None:
    """Runs in the parent when a child was killed, by the time limit or by the kernel."""
    if isinstance(exception, WorkerLostError | TimeLimitExceeded):
        services().parsing.child_lost(args, str(exception))
