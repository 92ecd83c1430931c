"""Accepts documents, waits for them and renders them. An original is stored and catalogued before workers are woken."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import anyio

from api.callers import Caller
from api.dependencies import Services, in_thread
from api.progress import Liveness, liveness_for, progress_wire
from api.render import Wire
from core.blobs import Blob, BlobStore
from core.catalog import SETTLED, Catalog, Document, DocumentState, NewDocument, Source
from core.disk import is_disk_full
from core.errors import Conflict, StorageFull, TooLarge, Unavailable
from core.keys import DEFAULT_OWNER

log = logging.getLogger(__name__)

WAIT_POLL_SECONDS = 0.05
TEXT_SUFFIXES = frozenset({".txt", ".md", ".markdown"})
MAX_NAME_LENGTH = 255
#: Messages that are sent for any number of newly queued documents. The workers send the rest as they finish some.
HINT_LIMIT = 8


@dataclass(frozen=True)
class Intake:
    """Where the documents of a request go, and how a repetition of the request is recognised."""

    collection: str
    source: Source
    caller: Caller
    idempotency_key: str | None = None
    #: Whether a file becomes a new version of the document that has its name already.
    replace: bool = False


@dataclass(frozen=True)
class Original:
    """A stored original. `path` is the name that the client gave it, cleaned."""

    blob: Blob
    path: str
    attributes: dict[str, Any]
    media_type: str | None = None


@dataclass(frozen=True)
class Added:
    """A document that was added, or the existing one that a repetition matches."""

    document: Document
    is_duplicate: bool


def store_texts(
    services: Services, texts: Sequence[str], metadata: Sequence[dict[str, Any]], intake: Intake
) -> list[Added]:
    """Store texts as documents. Blocks.

    Raises:
        TooLarge: a text is larger than MAX_UPLOAD_BYTES. None was stored.
        Unavailable: the disk or the catalog cannot be written.
    """
    encoded = [text.encode() for text in texts]
    for number, data in enumerate(encoded):
        if len(data) > services.settings.max_upload_bytes:
            raise too_large(f"Text {number}", services.settings.max_upload_bytes, param=f"texts.{number}")
    originals: list[Original] = []
    with storage(services.blobs, originals):
        for data, attributes in zip(encoded, metadata, strict=True):
            name = _text_name(data, attributes)
            originals.append(Original(services.blobs.put(data, name), name, attributes, "text/plain"))
    return add_documents(services, originals, intake)


@contextmanager
def storage(blobs: BlobStore, stored: Sequence[Original] = ()) -> Iterator[None]:
    """Report faults of the disk while originals are written, and remove those that were `stored` before the fault.

    Raises:
        Unavailable: the disk is full or cannot be written.
    """
    try:
        yield
    except OSError as error:
        for original in stored:
            blobs.delete(original.blob.key)
        log.error("an original cannot be stored: %s", error)
        if is_disk_full(error):
            raise StorageFull("The file cannot be stored: the disk of the originals is full.") from error
        raise Unavailable(f"The file cannot be stored: {error.strerror}.", code="storage_unavailable") from error


def too_large(what: str, limit_bytes: int, *, param: str | None = None) -> TooLarge:
    """Return the error for an original over the size limit."""
    return TooLarge(f"{what} is larger than {limit_bytes} bytes (MAX_UPLOAD_BYTES).", param=param)


def add_documents(services: Services, originals: Sequence[Original], intake: Intake) -> list[Added]:
    """Record originals in the catalog and wake the workers. Blocks.

    For content that was sent before under the same name, or a repeated `Idempotency-Key`, this returns the existing
    document. If that had failed, it is retried.

    Raises:
        Conflict: the `Idempotency-Key` was sent before with another content, name, collection or attributes.
    """
    added: list[Added] = []
    try:
        # A request with an idempotency key may still be refused: its collection is created with its first document.
        ensure = services.catalog.ensure_collection
        collection_id = "" if intake.idempotency_key else ensure(intake.collection, intake.caller.owner).id
        for number, original in enumerate(originals):
            new = _new(original, intake, number, collection_id)
            added.append(_add(services.catalog, services.blobs, original, new, intake))
    finally:
        # Originals that were not recorded because of a fault must not stay on disk.
        for original in originals[len(added) :]:
            services.blobs.delete(original.blob.key)
    hint_ingest(services, [one.document for one in added])
    return added


def _add(catalog: Catalog, blobs: BlobStore, original: Original, new: NewDocument, intake: Intake) -> Added:
    if intake.replace:
        document, unneeded = catalog.replace_document(new, intake.caller.reach)
    else:
        document = catalog.add_document(new)
        unneeded = original.blob.key if document.blob_key != original.blob.key else None
    if unneeded == original.blob.key and _identifying_fields(document) != _identifying_fields(new):
        message = "This Idempotency-Key was sent before with another content, name, collection or attributes."
        raise Conflict(message, param="Idempotency-Key")
    if unneeded:
        blobs.delete(unneeded)
    is_duplicate = unneeded == original.blob.key
    if is_duplicate and document.state in (DocumentState.FAILED, DocumentState.CANCELLED):
        document = catalog.retry_document(document.id)
    return Added(document, is_duplicate)


def _identifying_fields(document: Document | NewDocument) -> tuple[Any, ...]:
    """Return the fields from the client that must be equal in a repetition."""
    return document.content_hash, document.collection, document.path, document.attributes


def _new(original: Original, intake: Intake, number: int, collection_id: str) -> NewDocument:
    new = NewDocument(
        collection=intake.collection,
        filename=PurePosixPath(original.path).name,
        source=intake.source,
        content_hash=original.blob.content_hash,
        size_bytes=original.blob.size_bytes,
        blob_key=original.blob.key,
        path=original.path,
        media_type=original.media_type,
        attributes=original.attributes,
        owner=intake.caller.owner,
    )
    return replace(new, idempotency_key=_identity(new, intake, number, collection_id))


def _identity(new: NewDocument, intake: Intake, number: int, collection_id: str) -> str:
    """Return a hash that an owner's repetitions share: of the client's key, or of the document's origin and content."""
    # The default owner is left out: so documents are recognised that were sent before there were owners.
    owner = "" if new.owner == DEFAULT_OWNER else new.owner
    parts: list[Any] = ["key", owner, intake.idempotency_key, number]
    if not intake.idempotency_key:
        # The collection's id, not its name: it may be renamed, and another one may take its name.
        parts = ["content", new.source, collection_id, new.path, new.content_hash, new.attributes]
        parts += [owner] if owner else []
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def hint_ingest(services: Services, documents: Iterable[Document]) -> None:
    """Send messages to the ingest workers. Blocks. If Redis is down, reconciliation finds the documents later."""
    try:
        for document in documents:
            if document.state is DocumentState.QUEUED and not services.hints.ingest(document.id):
                return
    except Unavailable as error:
        log.warning("new documents wait until reconciliation wakes a worker: %s", error.message)


def _text_name(data: bytes, attributes: dict[str, Any]) -> str:
    """Return the `filename` attribute, or else a name made from the content.

    The suffix is always one of plain text, because that is how the text is parsed.
    """
    given = attributes.get("filename")
    if not isinstance(given, str):
        return f"text-{hashlib.sha256(data).hexdigest()[:12]}.txt"
    name = clean_path(given)
    return name if PurePosixPath(name).suffix.lower() in TEXT_SUFFIXES else f"{name}.txt"


def clean_path(name: str) -> str:
    """Return a file name from a client as a safe relative path, without `..` and control characters."""
    printable = "".join(char for char in name.replace("\\", "/") if char.isprintable())
    parts = [part[-MAX_NAME_LENGTH:] for part in printable.split("/") if part.strip() not in ("", ".", "..")]
    return "/".join(parts[-16:]) or "unnamed"


def hint_waiting(services: Services) -> None:
    """Wake the ingest workers after many documents were queued. For each one they finish, they send the next."""
    hint_ingest(services, services.catalog.dispatchable(HINT_LIMIT))


async def wait_until_settled(services: Services, documents: Sequence[Document], wait_seconds: float) -> list[Document]:
    """Wait until all documents are settled or the time is over, and return their latest states."""
    deadline = time.monotonic() + wait_seconds
    current = {document.id: document for document in documents}
    while (pending := [one for one in current.values() if one.state not in SETTLED]) and time.monotonic() < deadline:
        await anyio.sleep(WAIT_POLL_SECONDS)
        found = await in_thread(services.catalog.documents_by_id, [document.id for document in pending])
        for document in pending:
            current[document.id] = found.get(document.id, replace(document, state=DocumentState.DELETED))
    return [current[document.id] for document in documents]


def is_settled(documents: Iterable[Document]) -> bool:
    """Return whether no document will change any more by itself."""
    return all(document.state in SETTLED for document in documents)


def shown_state(state: DocumentState) -> str:
    """Return the state as users see it: `parsed`, the wait for the indexer, is shown as `indexing`."""
    return (DocumentState.INDEXING if state is DocumentState.PARSED else state).value


def document_wire(document: Document, liveness: Liveness) -> Wire:
    """Return a document in the form of the API. Times are Unix seconds, rounded down."""
    return {
        "id": document.id,
        "object": "document",
        "filename": document.filename,
        "path": document.path,
        "collection": document.collection,
        "source": document.source.value,
        "status": shown_state(document.state),
        "error": document.error,
        "error_code": document.error_code,
        "chunk_count": document.chunk_count,
        "size_bytes": document.size_bytes,
        "media_type": document.media_type,
        "attributes": document.attributes,
        "properties": document.properties,
        "created_at": int(document.created_at),
        "updated_at": int(document.updated_at),
        "completed_at": None if document.completed_at is None else int(document.completed_at),
        "progress": progress_wire(document, liveness, time.time()),
    }


async def detailed_document_wire(services: Services, document: Document) -> Wire:
    """Return a document in the form of the API. If it waits, `waiting_before` says how many come before it."""
    wire = document_wire(document, await liveness_for(services, [document]))
    if document.state in (DocumentState.QUEUED, DocumentState.PARSED):
        wire["progress"]["waiting_before"] = await in_thread(services.catalog.waiting_before, document)
    return wire


async def document_list(services: Services, documents: Sequence[Document], *, has_more: bool = False) -> Wire:
    """Return a list of documents in the form of the API."""
    liveness = await liveness_for(services, list(documents))
    return {
        "object": "list",
        "data": [document_wire(document, liveness) for document in documents],
        "has_more": has_more,
        "first_id": documents[0].id if documents else None,
        "last_id": documents[-1].id if documents else None,
    }
