"""Periodic work, sent by beat: reconciliation and expiry."""

from __future__ import annotations

from tasks.app import celery_app
from tasks.jobs.names import Task
from tasks.services import services


@celery_app.task(name=Task.RECONCILE)
def reconcile() -> None:
    """Sends again what was lost: the catalog is the truth, messages are hints."""
    services().reconciliation.reconcile()


@celery_app.task(name=Task.SETTLE_DOCUMENTS)
def settle_documents(job_id: str) -> None:
    """Accepts a job that waits for documents."""
    services().reconciliation.accept_documents_job(job_id)


@celery_app.task(name=Task.EXPIRE)
def expire() -> None:
    """Removes what was deleted or finished long ago."""
    services().reconciliation.expire()
