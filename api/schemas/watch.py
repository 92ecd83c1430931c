"""`/v1/watch`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.base import WireAnswer, WireRequest


class Confirmation(WireRequest):
    """Body of `POST /v1/watch/confirm`. Without a path: all folders whose deletions are held back."""

    path: str | None = Field(None, min_length=1, max_length=4096, pattern=r"^[^\x00]+$")


class WatchedFolder(WireAnswer):
    """A watched folder.

    `held` and `missing`: the files of `missing` documents are not there, and nothing is deleted until that is
    confirmed or they are back. `documents` is their number at the last full scan, or when that began.
    """

    object: Literal["watched_folder"]
    path: str
    collection: str
    mode: Literal["mirror", "additive", "consume"]
    state: Literal["starting", "watched", "held", "missing", "stopped"]
    documents: int
    missing: int
    confirmed: bool
    changed_at: int
