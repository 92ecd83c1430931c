"""Watched folders and web pages."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

from core.settings.values import (
    NamePatterns,
    Texts,
)


class WatchSettings(BaseSettings):
    """Watched folders and web pages."""

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
    watch_ignore: NamePatterns = Field(
        (),
        description="Patterns of names, comma-separated, of files and folders to ignore, besides the built-in ones; "
        "`!PATTERN` takes what a built-in one ignores, such as `!*.bak`.",
    )
    watch_urls: Texts = Field(
        (),
        description="Web pages, feeds and sitemaps, comma-separated, each `URL`, `URL=COLLECTION` or "
        "`URL=COLLECTION:MODE`; the mode is `mirror` or `additive`.",
    )
    watch_url_seconds: float = Field(3600, ge=1, description="Time between two visits of a watched URL.")
    watch_url_pages: int = Field(
        1000, ge=1, le=100_000, description="Pages of one watched feed or sitemap that are read at most."
    )
    watch_urls_allow_private: bool = Field(
        False, description="Let watched URLs, their links and redirects lead to this machine and to private networks."
    )
