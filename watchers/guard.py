"""The guard against mass deletion: it keeps the documents of a folder that is missing, was replaced by another one, or
lost most of its files.

Its state is in the catalog, so it survives restarts, and the API can show it and confirm deletions.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from core.catalog import Catalog, FolderState, WatchedFolder
from core.watch_roots import WatchMode
from watchers.reconcile import MASS_DELETION_FLOOR, is_mass_deletion, is_restored

logger = logging.getLogger(__name__)

#: Files that are deleted within this time count as deleted at once: removing a tree takes a while.
WINDOW_SECONDS = 60.0


class Guarded(Protocol):
    """What has documents that are kept: a watched folder, or a web site."""

    @property
    def key(self) -> str:
        """Its key in the catalog."""

    @property
    def collection(self) -> str:
        """The collection of its documents."""

    @property
    def mode(self) -> WatchMode:
        """How its changes affect its documents."""

    def identity(self) -> object | None:
        """Return what distinguishes it from another one in its place, as something with a text; None: it is missing."""


class Guard:
    """Decides which deletions are carried out. Each method may raise `Unavailable` if the catalog does not answer."""

    def __init__(self, catalog: Catalog, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._clock = clock
        self._folders: dict[str, WatchedFolder] = {}
        #: The recent deletions of lost files, by folder: their times and numbers.
        self._deleted: dict[str, deque[tuple[float, int]]] = {}

    def knows(self, folder: Guarded) -> bool:
        """Return whether this folder has been mirrored before."""
        return self._known(folder).identity is not None

    def state(self, folder: Guarded) -> FolderState:
        """Return the folder's state, as far as it is known without asking the catalog."""
        known = self._folders.get(folder.key)
        return known.state if known is not None else FolderState.STARTING

    def may_delete(self, folder: Guarded) -> bool:
        """Return whether missing files count as deleted: the folder is watched and is the one that was mirrored."""
        known, identity = self._known(folder), folder.identity()
        return identity is not None and str(identity) == known.identity and known.state is FolderState.WATCHED

    def allows(self, folder: Guarded, lost_count: int, upcoming_count: int) -> bool:
        """Return whether these documents may be deleted now. If they are too many at once, hold the folder.

        Args:
            lost_count: documents to delete whose files are gone; those whose files are ignored do not count.
            upcoming_count: further documents whose files are gone and that are about to be deleted too.
        """
        if not self.may_delete(folder):
            return False
        if not lost_count:
            return True
        recent = self._recently_deleted(folder)
        if self._is_too_many(folder, lost_count + upcoming_count, recent):
            self._hold(folder, self._catalog.count_in_root(folder.key), lost_count + upcoming_count)
            return False
        self._deleted.setdefault(folder.key, deque()).append((self._clock(), lost_count))
        return True

    def _is_too_many(self, folder: Guarded, lost_count: int, recent: int) -> bool:
        """Return whether so many further documents may not be deleted, without counting all that the folder has."""
        # As many documents as make it no mass deletion, which counts those that were deleted recently too.
        enough = 2 * (lost_count + recent) - recent
        return is_mass_deletion(0, lost_count + recent) and not self._catalog.has_in_root(folder.key, enough)

    def check_scan(self, folder: Guarded, identity: object, row_count: int, lost_count: int) -> None:
        """Hold or accept a folder after a complete scan of it.

        Too many missing files hold the folder. If it is not the folder that was mirrored (but, for example, the empty
        mount point below it), a single missing file is enough.
        """
        known = self._known(folder)
        if known.state is FolderState.HELD and not is_restored(known.document_count, lost_count):
            self._save(replace(known, missing_count=lost_count))
            return
        floor = MASS_DELETION_FLOOR if known.identity == str(identity) else 1
        recent = self._recently_deleted(folder)
        if is_mass_deletion(row_count + recent, lost_count + recent, floor) and lost_count:
            self._hold(folder, row_count, lost_count)
            return
        if known.state is FolderState.HELD:
            logger.info("The files of %s are back.", folder.key)
        self._accept(folder, str(identity), row_count)

    def record_missing(self, folder: Guarded) -> None:
        """Record that the folder is missing."""
        known = self._known(folder)
        if known.state is FolderState.MISSING:
            return
        count = self._catalog.count_in_root(folder.key)
        logger.error(
            "The watched folder %s is missing. Its %d documents are kept. Mount it, create it again, or confirm with "
            "`llm-api watch confirm` that they are to be deleted.",
            folder.key,
            count,
        )
        self._save(replace(known, state=FolderState.MISSING, document_count=count, missing_count=count))

    def is_confirmed(self, folder: Guarded) -> bool:
        """Return whether a person confirmed that the missing files were deleted on purpose."""
        if self._known(folder).state not in (FolderState.HELD, FolderState.MISSING):
            return False
        saved = self._catalog.watched_folder(folder.key)
        return saved is not None and saved.confirmed

    def end_confirmation(self, folder: Guarded) -> None:
        """Record that the confirmed deletion is done: from now on, the present folder is the one to mirror."""
        known, identity = self._known(folder), folder.identity()
        self._deleted.pop(folder.key, None)
        if identity is None:
            self._save(replace(known, document_count=0, missing_count=0))
        else:
            self._accept(folder, str(identity), self._catalog.count_in_root(folder.key))
        self._catalog.end_confirmation(folder.key)

    def _hold(self, folder: Guarded, row_count: int, lost_count: int) -> None:
        known = self._known(folder)
        if known.state is not FolderState.HELD:
            logger.error(
                "The files of %d of the %d documents of %s are gone. The documents are kept until the files are back, "
                "or until `llm-api watch confirm` (or POST /v1/watch/confirm) confirms the deletion.",
                lost_count,
                row_count,
                folder.key,
            )
        self._save(replace(known, state=FolderState.HELD, document_count=row_count, missing_count=lost_count))

    def _accept(self, folder: Guarded, identity: str, row_count: int) -> None:
        known = self._known(folder)
        accepted = replace(known, state=FolderState.WATCHED, identity=identity, missing_count=0)
        self._save(replace(accepted, document_count=row_count))

    def _known(self, folder: Guarded) -> WatchedFolder:
        known = self._folders.get(folder.key)
        if known is None:
            saved = self._catalog.watched_folder(folder.key)
            known = WatchedFolder(
                folder.key, folder.collection, folder.mode, FolderState.STARTING, None, 0, 0, False, 0
            )
            if saved is not None:
                known = replace(saved, collection=folder.collection, mode=folder.mode)
                if known != saved:
                    self._catalog.save_watched_folder(known)
            self._folders[folder.key] = known
        return known

    def _save(self, folder: WatchedFolder) -> None:
        if folder != self._folders.get(folder.root) or folder.state is FolderState.STARTING:
            self._catalog.save_watched_folder(folder)
            self._folders[folder.root] = folder

    def _recently_deleted(self, folder: Guarded) -> int:
        deleted = self._deleted.get(folder.key, deque())
        while deleted and deleted[0][0] < self._clock() - WINDOW_SECONDS:
            deleted.popleft()
        return sum(count for _, count in deleted)
