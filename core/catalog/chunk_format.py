"""The format of chunks, by which documents are found that an older release has indexed."""

from __future__ import annotations

from typing import Final

#: The format of the chunks that this release makes, and of their points. A release that makes others of the same files
#: raises it, and makes the index `documents_outdated` anew in a migration: all documents are then indexed again.
CHUNK_FORMAT: Final = 2
