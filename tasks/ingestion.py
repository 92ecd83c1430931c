"""Work of the ingest workers: one file in one killable child process."""

from __future__ import annotations

from tasks.app import celery_app
from tasks.names import Task
from tasks.services import services


@celery_app.task(name=Task.PARSE_DOCUMENT)
def parse(document_id: str) -> None:
    """Parses and chunks a document."""
    services().parsing.parse(document_id)
