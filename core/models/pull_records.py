"""What is known of a folder of pulled files: the repository and the checksums, in a file beside them."""

from __future__ import annotations

import json
import os
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

    def write(self, folder: Path) -> None:
        """Replace the record in a folder.

        Raises:
            OSError: it cannot be written.
        """
        part = folder / f"{RECORD_NAME}.{os.getpid()}.part"
        part.write_text(json.dumps({"repo": self.repo, "files": self.files}, indent=1), encoding="utf-8")
        part.replace(folder / RECORD_NAME)
