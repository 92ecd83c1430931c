"""`/v1/watch`: the watched folders, and the deletions that a person has to confirm."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.callers import Caller
from api.dependencies import CallerDep, JsonRoute, Services, ServicesDep, in_thread, json_response
from api.schemas import watch as schema
from api.schemas.base import ListAnswer
from api.scopes import needs
from core.catalog import FolderState, WatchedFolder, to_text
from core.errors import Conflict, NotFound, Unavailable
from core.keys import DEFAULT_OWNER, Scope
from tasks.jobs.queues import Role

router = APIRouter(prefix="/v1/watch", tags=["watched folders"], route_class=JsonRoute)

#: States in which deletions wait for a confirmation.
_HELD = (FolderState.HELD, FolderState.MISSING)


@router.get("", responses={200: {"model": ListAnswer[schema.WatchedFolder]}})
@needs(Scope.DOCUMENTS_READ)
async def list_watched_folders(services: ServicesDep, caller: CallerDep) -> Response:
    """List all folders that were ever watched, with their state. `stopped` means that no watcher watches it now."""
    return _list(await _visible(services, caller), await _live(services))


@router.post("/confirm", responses={200: {"model": ListAnswer[schema.WatchedFolder]}})
@needs(Scope.DOCUMENTS_WRITE)
async def confirm_deletions(body: schema.Confirmation, services: ServicesDep, caller: CallerDep) -> Response:
    """Confirm that the files missing from a folder, or from all folders with held deletions, were deleted on purpose.

    The watcher deletes their documents within seconds.
    """
    caller.require_own("The documents of watched folders", DEFAULT_OWNER)
    folders = await _visible(services, caller)
    if body.path is not None:
        known = [folder.root for folder in folders]
        roots = [body.path if body.path in known else to_text(os.path.abspath(body.path))]
        if roots[0] not in known:
            raise NotFound(f"{roots[0]} is not watched.", param="path")
    else:
        roots = [folder.root for folder in folders if folder.state in _HELD and folder.missing_count]
        if not roots:
            raise Conflict("There is nothing to confirm: no watched folder has deletions that wait for it.")
    confirmed = [await in_thread(services.catalog.confirm_watched_folder, root) for root in roots]
    return _list(confirmed, await _live(services))


async def _visible(services: Services, caller: Caller) -> list[WatchedFolder]:
    """Return the watched folders whose collections the caller sees."""
    folders: list[WatchedFolder] = await in_thread(services.catalog.watched_folders)
    return [folder for folder in folders if caller.reach.sees(folder.collection)]


async def _live(services: Services) -> set[str] | None:
    """Return the folders that are being watched, or None if Redis does not answer."""
    try:
        watchers = await services.stream.workers(Role.WATCHER)
    except Unavailable:
        return None
    return {folder["path"] for info in watchers.values() for folder in info.get("folders", ())}


def _list(folders: list[WatchedFolder], live: set[str] | None) -> Response:
    items = [_wire(folder, live) for folder in folders]
    return json_response({"object": "list", "data": items, "has_more": False})


def _wire(folder: WatchedFolder, live: set[str] | None) -> dict[str, Any]:
    is_stopped = live is not None and folder.root not in live and folder.state is FolderState.WATCHED
    return {
        "object": "watched_folder",
        "path": folder.root,
        "collection": folder.collection,
        "mode": folder.mode,
        "state": "stopped" if is_stopped else folder.state.value,
        "documents": folder.document_count,
        "missing": folder.missing_count,
        "unreadable": folder.unreadable_count,
        "confirmed": folder.confirmed,
        "changed_at": int(folder.changed_at),
    }
