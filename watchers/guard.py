"""Keeps a folder that is not there, or not the one it was, from taking its documents with it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from watchers.folder import Folder, Identity
from watchers.reconcile import is_mass_deletion

logger = logging.getLogger(__name__)


class Guard:
    """Remembers which folder each root was when it was last mirrored, over restarts."""

    def __init__(self, state_file: Path) -> None:
        self._state_file = state_file
        self._accepted = _load(state_file)
        self._doubted: set[str] = set()

    def knows(self, folder: Folder) -> bool:
        """Whether this root has been mirrored before."""
        return folder.key in self._accepted

    def may_delete(self, folder: Folder) -> bool:
        """Whether what is missing in the folder has been deleted: it is the very folder that was mirrored."""
        identity = folder.identity()
        return identity is not None and identity == self._accepted.get(folder.key)

    def is_doubted(self, folder: Folder) -> bool:
        """Whether deletions are held back until the files are there again."""
        return folder.key in self._doubted

    def consider(self, folder: Folder, identity: Identity, row_count: int, vanished_count: int) -> None:
        """Judges a folder by a scan of it: another one at the same path is accepted unless most files are missing."""
        if self._accepted.get(folder.key) == identity:
            return
        if is_mass_deletion(row_count, vanished_count):
            if folder.key not in self._doubted:
                logger.error(
                    "%s is not the folder it was, and %d of its %d documents have no file there. Is it not mounted? "
                    "They are kept until the files are back; delete the documents themselves if that was meant.",
                    folder.key,
                    vanished_count,
                    row_count,
                )
                self._doubted.add(folder.key)
            return
        self._doubted.discard(folder.key)
        self._accepted[folder.key] = identity
        self._save()

    def _save(self) -> None:
        temporary = self._state_file.with_suffix(".new")
        try:
            self._state_file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({key: asdict(identity) for key, identity in self._accepted.items()}))
            temporary.replace(self._state_file)
        except OSError as error:
            # Only costs a question at the next start.
            logger.warning("%s cannot be written: %s", self._state_file, error.strerror)


def _load(state_file: Path) -> dict[str, Identity]:
    try:
        return {key: Identity(**value) for key, value in json.loads(state_file.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        logger.warning("%s cannot be read, so folders are taken as new: %s", state_file, error)
        return {}
