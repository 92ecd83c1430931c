"""The names of documents that are web pages."""

from __future__ import annotations

import mimetypes
from urllib.parse import unquote, urlsplit

from core.catalog import folder_attributes

_HTML = ("text/html", "application/xhtml+xml")
_MAX_CHARACTERS = 150


def filename_of(url: str, media_type: str) -> str:
    """Return a file name for a page, whose suffix tells its type: of `/docs/` as HTML, `docs.html`."""
    parts = urlsplit(url)
    segments = [unquote(part, errors="replace") for part in parts.path.split("/") if part]
    name = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in (segments or [""])[-1])
    name = name[-_MAX_CHARACTERS:].strip(". ") or parts.hostname or "page"
    guessed = mimetypes.guess_type(name)[0] if segments else None
    if media_type in _HTML:
        return name if guessed in _HTML else f"{name}.html"
    return name if guessed else name + (mimetypes.guess_extension(media_type) or "")


def attributes_of(url: str) -> dict[str, str]:
    """Return the attributes by which searches can filter: the page's `url`, its `site`, and its folders."""
    parts = urlsplit(url)
    return {"url": url, "site": parts.netloc} | folder_attributes(parts.path.lstrip("/"))
