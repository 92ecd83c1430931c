"""Watched folders."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

from core.settings.values import (
    Texts,
)


class WatchSettings(BaseSettings):
    """Watched folders."""

    watch_dirs: Texts = Field(
        ("./inbox",),
        description="Folders, comma-separated, each `PATH`, `PATH=COLLECTION` or "
        "`PATH=COLLECTION:MODE`; the mode is `mirror`, `additive` or `consume`.",
    )
    watch_stable_seconds: float = Field(
        1.0, ge=0.1, le=60, description="A file is ingested once it has not changed for this long."
    )
    watch_rescan_seconds: float = Field(
        60, ge=1, description="Time between full scans of the watched folders; longer for very large ones."
    )
    watch_polling: bool = Field(False, description="Poll instead of waiting for events: for network file systems.")
