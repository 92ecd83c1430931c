"""What workers wrote for documents that were deleted or replaced meanwhile: nobody else may remove it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.blobs import BlobStore
from core.catalog import Catalog, Claim, Document, DocumentState

if TYPE_CHECKING:
    from tasks.documents.embedding_models import Model


def discard_chunks(claims: Sequence[Claim], catalog: Catalog, blobs: BlobStore) -> None:
    """Remove the chunks that were written for claims that were fenced off, unless another worker needs them."""
    present = _present(claims, catalog)
    for claim in claims:
        document = present.get(claim.document.id)
        if document is None:
            blobs.delete_chunks(claim.document.id)
        elif document.generation > claim.document.generation:
            blobs.delete_chunks(document.id, before_generation=document.generation)


def discard_points(claims: Sequence[Claim], catalog: Catalog, models: Sequence[Model]) -> None:
    """Remove the points that were written for claims that were fenced off, unless another worker needs them."""
    present = _present(claims, catalog)
    gone = [claim.document.id for claim in claims if claim.document.id not in present]
    replaced = [claim.document for claim in claims if _is_replaced(claim, present.get(claim.document.id))]
    for model in models:
        if gone:
            model.store.delete_documents(gone)
        for document in replaced:
            model.store.delete_generation(document.id, document.generation)


def _is_replaced(claim: Claim, document: Document | None) -> bool:
    """Return whether nobody will index this generation any more, and search does not see it."""
    generation = claim.document.generation
    return document is not None and generation not in (document.generation, document.active_generation)


def _present(claims: Sequence[Claim], catalog: Catalog) -> dict[str, Document]:
    """Return the documents that are not deleted and not about to be, by id.

    The worker that deletes one may already have removed what it has found.
    """
    found = catalog.documents_by_id(claim.document.id for claim in claims)
    return {key: document for key, document in found.items() if document.state is not DocumentState.DELETING}
