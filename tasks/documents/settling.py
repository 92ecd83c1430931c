"""Decides when a job that waits for documents has ended."""

from __future__ import annotations

from typing import Any

import msgspec

from core.catalog import Catalog, Job
from core.messages import DocumentsRequest


def documents_result(catalog: Catalog, job: Job) -> dict[str, Any] | None:
    """Return the result of a documents job, or None while one of its documents has not ended."""
    document_ids = msgspec.json.decode(job.request, type=DocumentsRequest).document_ids
    return None if catalog.has_unsettled(document_ids) else {"documents": document_ids}
