"""`/v1/rag/collections`: sets of documents with their own settings, and how much of each is searchable."""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.collection_wires import collection_wire, with_coverage
from api.dependencies import CallerDep, JsonRoute, Services, ServicesDep, in_thread, json_response
from api.document_intake import hint_waiting
from api.schemas import collections as schema
from api.schemas.base import ListAnswer
from api.scopes import needs
from api.visible import own_collection, visible_collection
from core.catalog import Collection, Page, SkippedFile, to_text
from core.errors import Conflict, InvalidRequest, Unavailable
from core.keys import Scope
from core.settings import Settings
from tasks.jobs.queues import Role

log = logging.getLogger(__name__)

COLLECTIONS_PATH = "/v1/rag/collections"

router = APIRouter(prefix=COLLECTIONS_PATH, tags=["collections"], route_class=JsonRoute)


@router.post("", responses={201: {"model": schema.Collection}}, status_code=201)
@needs(Scope.DOCUMENTS_WRITE)
async def create_collection(body: schema.NewCollection, services: ServicesDep, caller: CallerDep) -> Response:
    """Create a collection.

    A collection is also created by its first document. Create it yourself to give it settings of its own before that.
    """
    caller.require_collection(body.name)
    settings = _with_catalog_names(body.model_dump(exclude={"name"}))
    _check_model(settings["model_choice"], services.settings)
    await _check_chunking(services, settings)
    create = partial(services.catalog.create_collection, body.name, owner=caller.owner, **settings)
    created = await in_thread(create)
    await _wake_indexer(services)
    return json_response(await with_coverage(services, created), 201)


@router.get("", responses={200: {"model": ListAnswer[schema.Collection]}})
@needs(Scope.DOCUMENTS_READ)
async def list_collections(services: ServicesDep, caller: CallerDep) -> Response:
    """List the collections that the key may use by name, each with its coverage."""
    found: list[Collection] = await in_thread(services.catalog.list_collections)
    coverage = {one.collection: one for one in await in_thread(services.catalog.coverage)}
    # A collection that was created between the two queries is left out.
    seen = [one for one in found if one.name in coverage and caller.reach.sees(one.name)]
    items = [collection_wire(one, coverage[one.name]) for one in seen]
    ids = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return json_response({"object": "list", "data": items, "has_more": False, "first_id": ids[0], "last_id": ids[1]})


@router.get("/{collection:path}/coverage", responses={200: {"model": schema.Coverage}})
@needs(Scope.DOCUMENTS_READ)
async def get_coverage(collection: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Report how many documents of a collection are searchable, and why the others are not."""
    found = await visible_collection(services, caller, collection)
    return json_response((await with_coverage(services, found))["coverage"])


@router.get("/{collection:path}/skipped", responses={200: {"model": ListAnswer[schema.SkippedFile]}})
@needs(Scope.DOCUMENTS_READ)
async def list_skipped(
    collection: str,
    services: ServicesDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: str | None = None,
) -> Response:
    """List the ignored files of the collection's watched folders by path, at most a thousand of each folder.

    The list is as of the last full scan (every WATCH_RESCAN_SECONDS). `coverage` counts all ignored files.
    """
    found = await visible_collection(services, caller, collection)
    find = partial(services.catalog.list_skipped, found.name, limit=limit, after=after)
    page: Page[SkippedFile] = await in_thread(find)
    items = [
        {"id": file.id, "object": "skipped_file", "folder": file.root, "path": file.path, "reason": file.reason}
        for file in page.items
    ]
    ids = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    answer = {"object": "list", "data": items, "has_more": page.has_more, "first_id": ids[0], "last_id": ids[1]}
    return json_response(answer)


@router.get("/{collection:path}", responses={200: {"model": schema.Collection}})
@needs(Scope.DOCUMENTS_READ)
async def get_collection(collection: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Return a collection by its name or its id."""
    found = await visible_collection(services, caller, collection)
    return json_response(await with_coverage(services, found))


@router.patch("/{collection:path}", responses={200: {"model": schema.Collection}})
@needs(Scope.DOCUMENTS_WRITE)
async def change_collection(
    collection: str, body: schema.CollectionChange, services: ServicesDep, caller: CallerDep
) -> Response:
    """Rename a collection or change its settings. `reindexing` says how many documents are indexed again.

    Search finds a document's old chunks until its new ones are complete. After a change of `embedding_model` it finds
    the old chunks until the new ones of all documents are complete.
    """
    changes = _with_catalog_names(body.model_dump(exclude_unset=True))
    found = await own_collection(services, caller, collection)
    if changes.get("name", found.name) != found.name:
        caller.require_collection(changes["name"])
        await _refuse_watched(services, found, "renamed")
    # Only a new choice is checked: an earlier one may stay after the settings stop offering that model.
    _check_model(changes.get("model_choice"), services.settings)
    current = {name: getattr(found, name) for name in ("chunk_tokens", "chunk_overlap_tokens", "model_choice")}
    await _check_chunking(services, current | {key: value for key, value in changes.items() if key in current})
    changed, count = await in_thread(services.catalog.update_collection, found.id, changes)
    if count:
        await in_thread(hint_waiting, services)
    answer = await with_coverage(services, changed)
    if changed.model_choice != found.model_choice:
        await _wake_indexer(services)
        count = max(count, answer["coverage"]["indexed"])
    return json_response(answer | {"reindexing": count})


@router.delete("/{collection:path}", responses={200: {"model": schema.DeletedCollection}})
@needs(Scope.DOCUMENTS_WRITE)
async def delete_collection(collection: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Delete a collection with all its documents. Search no longer finds them when this returns."""
    found = await own_collection(services, caller, collection)
    await _refuse_watched(services, found, "deleted")
    count: int = await in_thread(services.catalog.delete_collection, found.id, caller.reach)
    await _wake_indexer(services)
    return json_response({"id": found.id, "object": "collection", "deleted": True, "documents": count})


async def _wake_indexer(services: Services) -> None:
    try:
        await in_thread(services.hints.wake_indexer)
    except Unavailable as error:
        log.warning("the index worker could not be woken and sees the change later: %s", error.message)


def _with_catalog_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Rename settings of the API to the names that the catalog uses."""
    if "embedding_model" in settings:
        settings["model_choice"] = settings.pop("embedding_model")
    return settings


async def _check_chunking(services: Services, collection: dict[str, Any]) -> None:
    """Check the chunk settings of a collection. The model's window is known only while an index worker is running.

    Raises:
        InvalidRequest: a chunk would be longer than the model's window, or mostly overlap.
    """
    tokens, overlap = effective_chunking(collection, services.settings)
    window = await _window_tokens(services, collection["model_choice"])
    if collection["chunk_tokens"] is not None and window is not None and collection["chunk_tokens"] > window:
        message = f"'chunk_tokens' may be at most {window}: the embedding model reads {window} tokens of a text."
        raise InvalidRequest(message, param="chunk_tokens")
    limit = tokens if tokens is not None else window
    if collection["chunk_overlap_tokens"] is not None and limit is not None and overlap * 2 > limit:
        message = f"'chunk_overlap_tokens' may be at most half of the {limit} tokens of a chunk."
        raise InvalidRequest(message, param="chunk_overlap_tokens")


def _check_model(choice: str | None, settings: Settings) -> None:
    allowed = [name for name in (settings.embedding_model_name, *settings.embedding_models) if name]
    if choice is None or choice in allowed:
        return
    raise InvalidRequest(
        f"Collections cannot choose the embedding model {choice!r}. EMBEDDING_MODEL_NAME and EMBEDDING_MODELS offer: "
        f"{', '.join(allowed) or 'none'}. null means the server's model.",
        param="embedding_model",
    )


def effective_chunking(collection: dict[str, Any], settings: Settings) -> tuple[int | None, int]:
    """Return the tokens of a chunk (None: the model's window) and of the overlap.

    What the collection does not set is the server's setting.
    """
    tokens, overlap = collection["chunk_tokens"], collection["chunk_overlap_tokens"]
    return (
        settings.chunk_tokens if tokens is None else tokens,
        settings.chunk_overlap_tokens if overlap is None else overlap,
    )


async def _window_tokens(services: Services, choice: str | None) -> int | None:
    try:
        workers = await services.stream.workers(Role.INDEX)
    except Unavailable as error:
        log.warning("the embedding model's window is unknown: %s", error.message)
        return None
    known = [info.get("windows", {}) for info in workers.values()]
    return min((windows[choice or ""] for windows in known if (choice or "") in windows), default=None)


async def _refuse_watched(services: Services, collection: Collection, change: str) -> None:
    """Refuse a change that a watched folder would undo at its next scan.

    Raises:
        Conflict: a folder of WATCH_DIRS or a URL of WATCH_URLS feeds this collection.
    """
    settings = services.settings
    feeding = [to_text(root.path) for root in settings.watch_roots if root.collection == collection.name]
    feeding += [site.url for site in settings.watch_sites if site.collection == collection.name]
    roots: list[str] = await in_thread(services.catalog.watched_roots, collection.id)
    watched = [root for root in roots if root in feeding]
    if watched:
        raise Conflict(
            f"The collection {collection.name!r} is fed by {watched[0]}, which is watched. Remove it from "
            f"WATCH_DIRS or WATCH_URLS before the collection is {change}.",
            param="collection",
        )
