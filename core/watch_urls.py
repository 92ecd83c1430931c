"""The entries of WATCH_URLS: web pages, feeds and sitemaps, the collections that they feed, and their modes."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urldefrag, urlsplit

from core.watch_roots import DEFAULT_COLLECTION, WatchMode

_MODES = (WatchMode.MIRROR, WatchMode.ADDITIVE)


@dataclass(frozen=True)
class WatchUrl:
    """A watched URL, the collection that it feeds, and its mode."""

    url: str
    collection: str
    mode: WatchMode = WatchMode.MIRROR


def watch_url_of(entry: str) -> WatchUrl:
    """Return the URL that an entry of WATCH_URLS names: URL, URL=COLLECTION or URL=COLLECTION:MODE.

    In a query, `?id=5` is a parameter: only what follows a further `=` is a collection, as in `?id=5=papers`.

    Raises:
        ValueError: the entry is wrong; the message says how.
    """
    url, separator, feeds = entry.rpartition("=")
    if not separator or _is_parameter(url):
        return WatchUrl(_checked(entry, entry), DEFAULT_COLLECTION)
    collection, colon, mode = feeds.rpartition(":")
    if colon and mode not in _MODES:
        raise ValueError(
            f"WATCH_URLS: {entry!r} names the mode {mode!r}; after `URL=COLLECTION:` it is mirror or additive"
        )
    if not (collection if colon else feeds):
        raise ValueError(f"WATCH_URLS: the collection's name is empty in {entry!r}; write URL=COLLECTION")
    address = _checked(url, entry)
    return WatchUrl(address, collection, WatchMode(mode)) if colon else WatchUrl(address, feeds)


def _is_parameter(before: str) -> bool:
    """Return whether an equals sign with this text before it belongs to the URL's query."""
    _, query, parameters = before.partition("?")
    return bool(query) and "=" not in parameters.rpartition("&")[2]


def _checked(url: str, entry: str) -> str:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ValueError(f"WATCH_URLS: {entry!r} must be a URL that starts with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("WATCH_URLS: a URL with a user's name or password is refused: everyone would see it")
    return urldefrag(url).url
