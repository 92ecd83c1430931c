"""Decides when a job that waits for documents has ended."""

from __future__ import annotations

from typing import Any

import msgspec

from core.catalog import SETTLED, Catalog, Document, Job
from core.messages import DocumentsRequest


def documents_result(catalog: Catalog, job: Job) -> dict[str, Any] | None:
    """Return the result of a documents job, or None while one of its documents has not ended."""
    document_ids = msgspec.json.decode(job.request, type=DocumentsRequest).document_ids
    documents = catalog.documents_by_id(document_ids)
    if not all(_is_settled(documents.get(document_id)) for document_id in document_ids):
        return None
    return {"documents": document_ids}


def _is_settled(document: Document | None) -> bool:
    return document is None or document.state in SETTLED
