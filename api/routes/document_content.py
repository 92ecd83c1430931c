"""What is in a document: its chunks, its original, and indexing it again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.dependencies import CallerDep, JsonRoute, ServicesDep, in_thread, json_response
from api.document_chunks import chunks_page
from api.document_intake import detailed_document_wire, hint_ingest, hint_waiting
from api.originals import original_response
from api.routes.documents import DOCUMENTS_PATH
from api.schemas import rag as schema
from api.scopes import needs
from api.visible import require_own_document, visible_collection, visible_document
from core.catalog import Document
from core.keys import Scope

router = APIRouter(prefix=DOCUMENTS_PATH, tags=["documents"], route_class=JsonRoute)


@router.get("/{document_id}/chunks", responses={200: {"model": schema.DocumentChunks}})
@needs(Scope.DOCUMENTS_READ)
async def document_chunks(
    document_id: str,
    services: ServicesDep,
    caller: CallerDep,
    after: Annotated[int, Query(ge=-1, lt=2**31, description="The number of the last chunk received.")] = -1,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Return the text of a document as its chunks, in their order, as search sees it.

    `start` and `end` are offsets in the extracted text, in characters. Neighbouring chunks share some text. A document
    that search does not see yet has no chunks here.
    """
    await visible_document(services, caller, document_id)
    page = await in_thread(chunks_page, services.catalog, services.blobs, document_id, after, limit)
    return json_response(page)


@router.get(
    "/{document_id}/original",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The file."}},
)
@needs(Scope.DOCUMENTS_READ)
async def document_original(document_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Download the file that a document was made of."""
    document = await visible_document(services, caller, document_id)
    return await original_response(document, services.blobs)


@router.post("/{document_id}/reindex", responses={200: {"model": schema.Document}})
@needs(Scope.DOCUMENTS_WRITE)
async def reindex_document(document_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Index a completed document again, from its original. Search finds it as it was until that is done."""
    await require_own_document(services, caller, document_id)
    document: Document = await in_thread(services.catalog.reindex_document, document_id)
    await in_thread(hint_ingest, services, [document])
    return json_response(await detailed_document_wire(services, document))


@router.post("/reindex", responses={200: {"model": schema.ChangedDocuments}})
@needs(Scope.DOCUMENTS_WRITE)
async def reindex_completed(body: schema.DocumentSelection, services: ServicesDep, caller: CallerDep) -> Response:
    """Index all completed documents of the key's owner again, of one collection or of all, behind new ones."""
    if body.collection is not None:
        await visible_collection(services, caller, body.collection)
    count: int = await in_thread(services.catalog.reindex_completed, body.collection, caller.reach)
    await in_thread(hint_waiting, services)
    return json_response({"object": "documents.reindexed", "count": count})
