"""`/v1/watch`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.base import WireAnswer, WireRequest


class Confirmation(WireRequest):
    """Body of `POST /v1/watch/confirm`. Without a `path`, all folders whose deletions wait are confirmed."""

    path: str | None = Field(None, min_length=1, max_length=4096, pattern=r"^[^\x00]+$")


class WatchedFolder(WireAnswer):
    """A watched folder, or a watched URL (its `path`), whose pages take the place of files.

    In the states `held` and `missing`, the files of `missing` documents are absent, and nothing is deleted until that
    is confirmed or the files are back. `documents` is the number of documents at the last full scan, or at the
    beginning of one that is running. `unreadable` is the number of files, folders and pages that the watcher cannot
    read: `/v1/rag/collections/{collection}/skipped` lists them.
    """

    object: Literal["watched_folder"]
    path: str
    collection: str
    mode: Literal["mirror", "additive", "consume"]
    state: Literal["starting", "watched", "held", "missing", "stopped"]
    documents: int
    missing: int
    unreadable: int
    confirmed: bool
    changed_at: int
