"""SHA-256 of models, computed once for each file and kept in a file."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.models.files import parts_of
from core.settings import Settings

FILE_NAME = "model-digests.json"

log = logging.getLogger(__name__)


class ModelDigests:
    """The digests of models, kept in `DATA_DIR/model-digests.json` by path, size and time of the last change.

    Several processes may use the file at once: each replaces it as a whole, and an entry that is lost that way is
    computed again.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.state_dir / FILE_NAME
        self._lock = threading.Lock()

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a model, in hexadecimal digits; of a split one, that of the digests of its parts.

        Takes a second per GB at the first time.

        Raises:
            OSError: a file cannot be read.
        """
        digests = [self.file_digest(part) for part in parts_of(path)]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def remember(self, path: Path, sha256: str) -> None:
        """Keep the digest of a file that has just been computed. On a full disk it is computed again the next time.

        Raises:
            OSError: the file is not there.
        """
        version = _version(path)
        with self._lock:
            known = {path: entry for path, entry in self._known().items() if Path(path).exists()}
            part = self._path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.part")
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                part.write_text(json.dumps(known | {str(path): [*version, sha256]}, indent=1), encoding="utf-8")
                part.replace(self._path)
            except OSError as error:
                log.warning("the SHA-256 of %s cannot be kept in %s: %s", path, self._path, error)
                with suppress(OSError):
                    part.unlink()

    def file_digest(self, path: Path) -> str:
        """Return the SHA-256 of a single file, in hexadecimal digits.

        Raises:
            OSError: as `digest`.
        """
        version = _version(path)
        known = self._known().get(str(path))
        if isinstance(known, list) and known[:2] == version and len(known) == 3:
            return str(known[2])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if _version(path) == version:
            self.remember(path, digest)
        return digest

    def _known(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # there is none yet, or it is damaged: the digests are computed again
            return {}
        return known if isinstance(known, dict) else {}


def _version(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
