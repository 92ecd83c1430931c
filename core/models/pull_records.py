"""What is known of a folder of pulled files: the repository and the checksums, in a file beside them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

RECORD_NAME = ".pulled.json"
MAX_RECORD_BYTES = 2**20


@dataclass
class PullRecord:
    """The files that were pulled from a repository into `MODELS_DIR/OWNER/REPOSITORY`."""

    repo: str
    #: SHA-256 in hexadecimal digits, by the path of the file in the repository.
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> PullRecord | None:
        """Return the record in a folder, or None if there is none that can be read."""
        try:
            with (folder / RECORD_NAME).open("rb") as file:
                values = json.loads(file.read(MAX_RECORD_BYTES))
            return cls(str(values["repo"]), {str(name): str(digest) for name, digest in values["files"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @classmethod
    def add(cls, folder: Path, repo: str, files: Mapping[str, str]) -> None:
        """Add files to the record in a folder.

        Raises:
            OSError: it cannot be written.
        """
        with _locked(folder):
            record = cls.read(folder) or cls(repo)
            record.files |= files
            record._write(folder)

    @classmethod
    def remove(cls, folder: Path, paths: Iterable[str]) -> None:
        """Remove files from the record in a folder, and the record with its last file.

        Raises:
            OSError: it cannot be written.
        """
        with _locked(folder):
            record = cls.read(folder)
            if record is None:
                return
            for path in paths:
                record.files.pop(path, None)
            if record.files:
                record._write(folder)
            else:
                (folder / RECORD_NAME).unlink()

    def _write(self, folder: Path) -> None:
        part = folder / f"{RECORD_NAME}.part"
        part.write_text(json.dumps({"repo": self.repo, "files": self.files}, indent=1), encoding="utf-8")
        part.replace(folder / RECORD_NAME)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change the record in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
