"""Bulk work of the index worker. A message only wakes its one indexer."""

from __future__ import annotations

from tasks.app import celery_app
from tasks.jobs.names import Task
from tasks.services import services


@celery_app.task(name=Task.WAKE_INDEXER)
def wake_indexer() -> None:
    """Tells the indexer that there is something to index or to delete."""
    services().indexer.wake()
