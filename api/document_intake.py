"""Takes documents in, waits for them, shows them. An original is durable and catalogued before anyone is told."""

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

from api.dependencies import Services, in_thread
from api.progress import Liveness, liveness_for, progress_wire
from api.render import Wire
from core.blobs import Blob, BlobStore
from core.catalog import SETTLED, Catalog, Document, DocumentState, NewDocument, Source
from core.errors import Conflict, TooLarge, Unavailable

log = logging.getLogger(__name__)

WAIT_POLL_SECONDS = 0.05
TEXT_SUFFIXES = frozenset({".txt", ".md", ".markdown"})
MAX_NAME_LENGTH = 255
#: Messages sent when any number of documents is queued: the workers send the rest.
HINTED_AT_ONCE = 8


@dataclass(frozen=True)
class Intake:
    """What one request brings: where it goes, and what makes a repetition of it the same documents."""

    collection: str
    source: Source
    key: str = ""
    idempotency_key: str | None = None
    #: A file whose name is taken becomes the new version of the document that has it.
    replace: bool = False


@dataclass(frozen=True)
class Item:
    """One original with its durable blob. `path` is the name it was given, cleaned."""

    blob: Blob
    path: str
    attributes: dict[str, Any]
    media_type: str | None = None


@dataclass(frozen=True)
class Added:
    """A document that was added, or the one that was there already."""

    document: Document
    is_duplicate: bool


def store_texts(
    services: Services, texts: Sequence[str], metadata: Sequence[dict[str, Any]], intake: Intake
) -> list[Added]:
    """Makes documents of texts. Blocks.

    Raises:
        TooLarge: a text is over MAX_UPLOAD_BYTES; none was stored.
        Unavailable: the disk or the catalog refuses.
    """
    encoded = [text.encode() for text in texts]
    for number, data in enumerate(encoded):
        if len(data) > services.settings.max_upload_bytes:
            raise too_large(f"Text {number}", services.settings.max_upload_bytes, param=f"texts.{number}")
    items: list[Item] = []
    with storage(services.blobs, items):
        for data, attributes in zip(encoded, metadata, strict=True):
            name = _text_name(data, attributes)
            items.append(Item(services.blobs.put(data, name), name, attributes, "text/plain"))
    return add_documents(services, items, intake)


@contextmanager
def storage(blobs: BlobStore, stored: Sequence[Item] = ()) -> Iterator[None]:
    """Where originals are written: a disk that refuses is told, and what was `stored` before it did is removed.

    Raises:
        Unavailable: the disk is full, or cannot be written.
    """
    try:
        yield
    except OSError as error:
        for item in stored:
            blobs.delete(item.blob.key)
        log.error("an original cannot be stored: %s", error)
        raise Unavailable(f"The file cannot be stored: {error.strerror}.", code="storage_unavailable") from error


def too_large(what: str, limit_bytes: int, *, param: str | None = None) -> TooLarge:
    """The refusal of an original over the limit."""
    return TooLarge(f"{what} is larger than {limit_bytes} bytes (MAX_UPLOAD_BYTES).", param=param)


def add_documents(services: Services, items: Sequence[Item], intake: Intake) -> list[Added]:
    """Records originals and hints that they wait. Blocks.

    The same content under the same name, or a repeated `Idempotency-Key`, gives the document that is there already;
    if it had failed, it is tried again.

    Raises:
        Conflict: the `Idempotency-Key` was sent before with another content, name, collection or attributes.
    """
    added: list[Added] = []
    try:
        # With a key of the client's it is made with the first document, and not for a request that is refused.
        collection_id = "" if intake.idempotency_key else services.catalog.ensure_collection(intake.collection).id
        for number, item in enumerate(items):
            new = _new(item, intake, number, collection_id)
            added.append(_add(services.catalog, services.blobs, item, new, intake.replace))
    finally:
        # What could not be recorded any more must leave nothing behind.
        for item in items[len(added) :]:
            services.blobs.delete(item.blob.key)
    hint_ingest(services, [one.document for one in added])
    return added


def _add(catalog: Catalog, blobs: BlobStore, item: Item, new: NewDocument, replace_named: bool) -> Added:
    if replace_named:
        document, unneeded = catalog.replace_document(new)
    else:
        document = catalog.add_document(new)
        unneeded = item.blob.key if document.blob_key != item.blob.key else None
    if unneeded == item.blob.key and _sent(document) != _sent(new):
        message = "This Idempotency-Key was sent before with another content, name, collection or attributes."
        raise Conflict(message, param="Idempotency-Key")
    if unneeded:
        blobs.delete(unneeded)
    is_duplicate = unneeded == item.blob.key
    if is_duplicate and document.state in (DocumentState.FAILED, DocumentState.CANCELLED):
        document = catalog.retry_document(document.id)
    return Added(document, is_duplicate)


def _sent(document: Document | NewDocument) -> tuple[Any, ...]:
    """What a client sends of a document, in which a repetition is the same."""
    return document.content_hash, document.collection, document.path, document.attributes


def _new(item: Item, intake: Intake, number: int, collection_id: str) -> NewDocument:
    new = NewDocument(
        collection=intake.collection,
        filename=PurePosixPath(item.path).name,
        source=intake.source,
        content_hash=item.blob.content_hash,
        size_bytes=item.blob.size_bytes,
        blob_key=item.blob.key,
        path=item.path,
        media_type=item.media_type,
        attributes=item.attributes,
    )
    return replace(new, idempotency_key=_identity(new, intake, number, collection_id))


def _identity(new: NewDocument, intake: Intake, number: int, collection_id: str) -> str:
    """What makes two documents the same one: the client's key, else name, content, collection and attributes."""
    parts: list[Any] = ["key", intake.key, intake.idempotency_key, number]
    if not intake.idempotency_key:
        # The id, not the name: a collection may be renamed, and its name given to another one.
        parts = ["content", new.source, collection_id, new.path, new.content_hash, new.attributes]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def hint_ingest(services: Services, documents: Iterable[Document]) -> None:
    """Wakes the ingest workers. Blocks. Nothing is lost without Redis: reconciliation finds the rows."""
    try:
        for document in documents:
            if document.state is DocumentState.QUEUED and not services.hints.ingest(document.id):
                return
    except Unavailable as error:
        log.warning("documents wait for reconciliation: %s", error.message)


def _text_name(data: bytes, attributes: dict[str, Any]) -> str:
    """`filename` of the metadata, else one by content. Its suffix says plain text: that is what is parsed."""
    given = attributes.get("filename")
    if not isinstance(given, str):
        return f"text-{hashlib.sha256(data).hexdigest()[:12]}.txt"
    name = clean_path(given)
    return name if PurePosixPath(name).suffix.lower() in TEXT_SUFFIXES else f"{name}.txt"


def clean_path(name: str) -> str:
    """A file's name as a client gave it, as a relative path without tricks: no `..`, no control characters."""
    printable = "".join(char for char in name.replace("\\", "/") if char.isprintable())
    parts = [part[-MAX_NAME_LENGTH:] for part in printable.split("/") if part.strip() not in ("", ".", "..")]
    return "/".join(parts[-16:]) or "unnamed"


def hint_waiting(services: Services) -> None:
    """Wakes the ingest workers after many documents were queued at once; each one they finish sends the next."""
    hint_ingest(services, services.catalog.dispatchable(HINTED_AT_ONCE))


async def wait_until_settled(services: Services, documents: Sequence[Document], wait_seconds: float) -> list[Document]:
    """The documents once all are completed or failed, or as they are when the time is over."""
    deadline = time.monotonic() + wait_seconds
    current = {document.id: document for document in documents}
    while (pending := [one for one in current.values() if one.state not in SETTLED]) and time.monotonic() < deadline:
        await anyio.sleep(WAIT_POLL_SECONDS)
        found = await in_thread(services.catalog.documents_by_id, [document.id for document in pending])
        for document in pending:
            current[document.id] = found.get(document.id, replace(document, state=DocumentState.DELETED))
    return [current[document.id] for document in documents]


def is_settled(documents: Iterable[Document]) -> bool:
    """Whether nothing more happens to any of them by itself."""
    return all(document.state in SETTLED for document in documents)


def shown_state(state: DocumentState) -> str:
    """The state as users see it: a parsed document waits for its indexing."""
    return (DocumentState.INDEXING if state is DocumentState.PARSED else state).value


def document_wire(document: Document, liveness: Liveness) -> Wire:
    """A document as users see it. Times are Unix seconds, rounded down."""
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


async def described(services: Services, document: Document) -> Wire:
    """One document as users see it, with how many come before it where it waits."""
    wire = document_wire(document, await liveness_for(services, [document]))
    if document.state in (DocumentState.QUEUED, DocumentState.PARSED):
        wire["progress"]["waiting_before"] = await in_thread(services.catalog.waiting_before, document)
    return wire


async def document_list(services: Services, documents: Sequence[Document], *, has_more: bool = False) -> Wire:
    """A list of documents."""
    liveness = await liveness_for(services, list(documents))
    return {
        "object": "list",
        "data": [document_wire(document, liveness) for document in documents],
        "has_more": has_more,
        "first_id": documents[0].id if documents else None,
        "last_id": documents[-1].id if documents else None,
    }
