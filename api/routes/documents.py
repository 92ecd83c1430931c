"""`/v1/rag/documents`: add, upload, list, follow, retry, cancel and delete documents."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import closing
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import StringConstraints, TypeAdapter, ValidationError
from starlette.responses import Response

from api.admission import admit
from api.callers import Caller
from api.dependencies import (
    CallerDep,
    JsonRoute,
    Preferences,
    PreferencesDep,
    Services,
    ServicesDep,
    in_thread,
    json_response,
)
from api.document_intake import (
    Added,
    Intake,
    add_documents,
    detailed_document_wire,
    document_list,
    document_wire,
    hint_ingest,
    hint_waiting,
    is_settled,
    store_texts,
    wait_until_settled,
)
from api.job_calls import Call, submit_async
from api.progress import document_events, event_id
from api.schemas import rag as schema
from api.schemas.base import EVENT_STREAM, CollectionName, ListAnswer
from api.scopes import needs
from api.sse import EventStream, cancelled_by_disconnect
from api.upload_slots import without_long_pauses
from api.uploads import UploadReceiver, receive
from api.visible import require_own_document, visible_collection, visible_document
from core.catalog import SETTLED, Document, DocumentState, Page, Source
from core.errors import InvalidRequest, Unavailable
from core.keys import Scope
from core.messages import DocumentsRequest
from core.watch_roots import DEFAULT_COLLECTION
from tasks.jobs import kinds

log = logging.getLogger(__name__)

DOCUMENTS_PATH = "/v1/rag/documents"
UPLOAD_PATH = f"{DOCUMENTS_PATH}/upload"
MAX_IDEMPOTENCY_KEY = 255
#: Characters of a filter of the list, and types in it.
MAX_FILTER = 255
MAX_TYPES = 32
TypeFilter = Annotated[str, StringConstraints(min_length=1, max_length=MAX_FILTER)]

router = APIRouter(tags=["documents"], route_class=JsonRoute)
_collection_name: TypeAdapter[str] = TypeAdapter(CollectionName)
IdempotencyKey = Annotated[str | None, Header(max_length=MAX_IDEMPOTENCY_KEY)]
DOCUMENTS: dict[int | str, dict[str, Any]] = {
    201: {"model": ListAnswer[schema.Document], "description": "All documents are completed or failed."},
    202: {
        "model": ListAnswer[schema.Document] | schema.Job,
        "description": "Some documents are not finished. With `Prefer: respond-async`: the job.",
    },
}


class Status(StrEnum):
    """The statuses of documents in the API."""

    QUEUED = "queued"
    PARSING = "parsing"
    INDEXING = "indexing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETING = "deleting"

    @property
    def states(self) -> list[DocumentState]:
        if self is Status.INDEXING:
            return [DocumentState.PARSED, DocumentState.INDEXING]
        return [DocumentState(self.value)]


@router.post(DOCUMENTS_PATH, responses=DOCUMENTS, status_code=201)
@needs(Scope.DOCUMENTS_WRITE)
async def add_texts(
    body: schema.TextsRequest,
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    prefer: PreferencesDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Add texts and wait until they are searchable, at most INDEX_WAIT_SECONDS or the shorter `Prefer: wait=SECONDS`.

    Sending the same text again returns the existing document.
    """
    metadata = body.metadata if body.metadata is not None else [{} for _ in body.texts]
    if len(metadata) != len(body.texts):
        raise InvalidRequest(f"'metadata' has {len(metadata)} items for {len(body.texts)} texts.", param="metadata")
    await admit(services, caller, is_async=prefer.respond_async)
    caller.require_collection(body.collection)
    intake = Intake(body.collection, Source.TEXT, caller, idempotency_key)
    added = await in_thread(store_texts, services, body.texts, metadata, intake)
    return await _answer(request, services, added, caller, prefer, services.settings.index_wait_seconds)


@router.post(
    UPLOAD_PATH,
    responses=DOCUMENTS,
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["files"],
                        "properties": {
                            "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                            "collection": {"type": "string", "default": DEFAULT_COLLECTION},
                            "metadata": {
                                "type": "string",
                                "description": "Attributes as JSON: one object for all files, or a list with one for"
                                " each file.",
                            },
                            "attributes": {"type": "string", "description": "The same as `metadata`."},
                            "replace": {
                                "type": "string",
                                "enum": ["true", "false"],
                                "default": "false",
                                "description": "Whether a file becomes the new version of the document that has its"
                                " name already.",
                            },
                        },
                    }
                }
            },
        }
    },
)
@needs(Scope.DOCUMENTS_WRITE)
async def upload(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    prefer: PreferencesDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Upload files, under any field names.

    The files are safely stored when this returns, and indexed afterwards. With `Prefer: wait=SECONDS` it waits for
    that, at most INDEX_WAIT_SECONDS.
    """
    receiver = UploadReceiver(
        services.blobs, request.headers.get("content-type", ""), services.settings.max_upload_bytes
    )
    size = request.headers.get("content-length", "")
    await admit(services, caller, is_async=prefer.respond_async, new_bytes=int(size) if size.isdecimal() else 0)
    async with services.uploads.one():
        with closing(receiver):
            await receive(receiver, _while_there_is_room(services, without_long_pauses(request.stream())))
            # The fields are checked before any file is committed, so that a refused request leaves nothing behind.
            collection = _collection(receiver)
            caller.require_collection(collection)
            intake = Intake(collection, Source.UPLOAD, caller, idempotency_key, receiver.flag("replace"))
            items = await in_thread(receiver.commit)
    added = await in_thread(add_documents, services, items, intake)
    return await _answer(request, services, added, caller, prefer, 0.0)


async def _while_there_is_room(services: Services, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the body. Other uploads fill the disk too, so room for the whole body at its start is not enough."""
    async for chunk in body:
        await in_thread(services.disk.require, len(chunk))
        yield chunk


def _collection(receiver: UploadReceiver) -> str:
    try:
        return _collection_name.validate_python(receiver.fields.get("collection") or DEFAULT_COLLECTION)
    except ValidationError as error:
        raise InvalidRequest(f"Invalid 'collection': {error.errors()[0]['msg']}", param="collection") from error


async def _answer(
    request: Request,
    services: Services,
    added: list[Added],
    caller: Caller,
    prefer: Preferences,
    default_wait_seconds: float,
) -> Response:
    documents = [one.document for one in added]
    if prefer.respond_async:
        job = DocumentsRequest([document.id for document in documents])
        return await submit_async(services, Call(kinds.DOCUMENTS, job, request.url.path, caller))
    asked = default_wait_seconds if prefer.wait_seconds is None else prefer.wait_seconds
    if asked and not await _queue_answers(services):
        asked = 0.0  # the documents are stored, but nobody works on them before Redis is back
    async with cancelled_by_disconnect(request.receive):
        documents = await wait_until_settled(services, documents, min(asked, services.settings.index_wait_seconds))
    answer = await document_list(services, documents)
    for wire, one in zip(answer["data"], added, strict=True):
        wire["duplicate"] = one.is_duplicate
    return json_response(answer, 201 if is_settled(documents) else 202)


async def _queue_answers(services: Services) -> bool:
    try:
        await services.stream.ping()
    except Unavailable:
        return False
    return True


@router.get(DOCUMENTS_PATH, responses={200: {"model": ListAnswer[schema.Document]}})
@needs(Scope.DOCUMENTS_READ)
async def list_documents(
    services: ServicesDep,
    caller: CallerDep,
    status: Annotated[list[Status], Query(description="One or several.")] = [],  # noqa: B006 - FastAPI copies it
    state: Annotated[list[Status], Query(description="The same as `status`.")] = [],  # noqa: B006
    collection: str | None = None,
    name: Annotated[str, Query(max_length=MAX_FILTER, description="What the path contains.")] = "",
    type: Annotated[  # noqa: A002 - the parameter's name in the URL
        list[TypeFilter], Query(max_length=MAX_TYPES, description="Extensions or beginnings of media types.")
    ] = [],  # noqa: B006
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: str | None = None,
) -> Response:
    """List documents, the newest first: of some statuses, of one collection, with some name, of some types."""
    states = [one for chosen in (*status, *state) for one in chosen.states] or None
    find = partial(services.catalog.list_documents, state=states, collection=collection, limit=limit, after=after)
    find = partial(find, name=name, types=type)
    page: Page[Document] = await in_thread(partial(find, reach=caller.reach))
    return json_response(await document_list(services, page.items, has_more=page.has_more))


@router.get(f"{DOCUMENTS_PATH}/{{document_id}}", responses={200: {"model": schema.Document}})
@needs(Scope.DOCUMENTS_READ)
async def get_document(document_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Return a document and its progress. `error` says why it failed and what to do."""
    document = await visible_document(services, caller, document_id)
    return json_response(await detailed_document_wire(services, document))


@router.get(
    f"{DOCUMENTS_PATH}/{{document_id}}/events",
    responses={200: {"content": EVENT_STREAM}},
)
@needs(Scope.DOCUMENTS_READ)
async def document_changes(
    document_id: str, services: ServicesDep, caller: CallerDep, last_event_id: Annotated[str | None, Header()] = None
) -> Response:
    """Stream the changes of a document until it is completed, failed or cancelled. Each event has the whole document.

    To resume, send the id of the last event received as `Last-Event-ID`. 204 means that no further event will come.
    """
    document = await visible_document(services, caller, document_id)
    if document.state in SETTLED and last_event_id == event_id(document, None):
        return Response(status_code=204)
    return EventStream(document_events(services, document_id, last_event_id or "", document_wire))


@router.post(f"{DOCUMENTS_PATH}/{{document_id}}/retry", responses={200: {"model": schema.Document}})
@needs(Scope.DOCUMENTS_WRITE)
async def retry_document(document_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Queue a failed or cancelled document again."""
    await require_own_document(services, caller, document_id)
    document: Document = await in_thread(services.catalog.retry_document, document_id)
    await in_thread(hint_ingest, services, [document])
    return json_response(await detailed_document_wire(services, document))


@router.post(f"{DOCUMENTS_PATH}/{{document_id}}/cancel", responses={200: {"model": schema.Document}})
@needs(Scope.DOCUMENTS_WRITE)
async def cancel_document(document_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Stop the work on a document. What is already searchable stays so; `retry` queues the document again."""
    await require_own_document(services, caller, document_id)
    document: Document = await in_thread(services.catalog.cancel_document, document_id)
    return json_response(await detailed_document_wire(services, document))


@router.post(f"{DOCUMENTS_PATH}/retry", responses={200: {"model": schema.ChangedDocuments}})
@needs(Scope.DOCUMENTS_WRITE)
async def retry_failed(body: schema.DocumentSelection, services: ServicesDep, caller: CallerDep) -> Response:
    """Queue all failed documents of the key's owner again, of one collection or of all."""
    await _check_known(services, caller, body.collection)
    count: int = await in_thread(services.catalog.retry_failed, body.collection, caller.reach)
    await in_thread(hint_waiting, services)
    return json_response({"object": "documents.retried", "count": count})


@router.post(f"{DOCUMENTS_PATH}/cancel", responses={200: {"model": schema.ChangedDocuments}})
@needs(Scope.DOCUMENTS_WRITE)
async def cancel_all(body: schema.DocumentSelection, services: ServicesDep, caller: CallerDep) -> Response:
    """Stop the work on all unfinished documents of the key's owner, of one collection or of all."""
    await _check_known(services, caller, body.collection)
    count: int = await in_thread(services.catalog.cancel_unsettled, body.collection, caller.reach)
    return json_response({"object": "documents.cancelled", "count": count})


async def _check_known(services: Services, caller: Caller, collection: str | None) -> None:
    if collection is not None:
        await visible_collection(services, caller, collection)


@router.delete(f"{DOCUMENTS_PATH}/{{document_id}}", responses={200: {"model": schema.DeletedDocument}})
@needs(Scope.DOCUMENTS_WRITE)
async def delete_document(document_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Delete a document. Search no longer finds it when this returns."""
    await require_own_document(services, caller, document_id)
    document: Document = await in_thread(services.catalog.delete_document, document_id)
    try:
        await in_thread(services.hints.wake_indexer)
    except Unavailable as error:
        log.warning("the index worker could not be woken and removes %s later: %s", document_id, error.message)
    return json_response({"id": document.id, "object": "document", "deleted": True})
