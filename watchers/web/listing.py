"""The pages of a watched URL: those of its sitemaps or its feed, or the page itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.catalog import PageVersion
from watchers.skip_report import SkipReport
from watchers.web.lists import BrokenList, ListKind, PageList, read_list

#: The most sitemaps that are read for one watched URL.
MAX_LISTS = 100
_TOO_MANY_LISTS = f"more than {MAX_LISTS} sitemaps are named"


@dataclass
class Listing:
    """The pages that a watched URL names."""

    #: Their URLs, in the order in which they are read.
    urls: dict[str, None] = field(default_factory=dict)
    #: All lists were read to their ends, so a page that is not listed is gone.
    is_complete: bool = True


@dataclass(frozen=True)
class KnownList:
    """A list as it was read last, and its version."""

    version: PageVersion
    content: PageList


class UnreadList(Exception):
    """A list could not be read; the message says why. `is_gone`: its server says that there is none."""

    def __init__(self, reason: str, *, is_gone: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_gone = is_gone


#: Reads a list. Raises UnreadList.
ReadList = Callable[[str], PageList]


def parsed_list(path: Path, url: str) -> PageList | None:
    """Return what a file lists, or None if it is no list. Raise UnreadList if it is broken."""
    try:
        return read_list(path, url)
    except BrokenList as error:
        raise UnreadList(str(error)) from error


def listing_of(entry: str, first: PageList, read: ReadList, most: int, skips: SkipReport) -> Listing:
    """Return the pages that a list names, with those of the lists that it names, and report what is left out.

    Args:
        entry: the URL of the list.
        first: what it lists.
        read: reads the further lists.
        most: the most pages that are returned (WATCH_URL_PAGES).
        skips: the report of what is skipped.
    """
    listing, seen, waiting = Listing(), {entry}, deque[str]()
    _add(listing, entry, first, waiting, most, skips)
    while waiting:
        url = waiting.popleft()
        if url in seen:
            skips.add(url, "a sitemap that was read already: it is named again")
        elif len(seen) >= MAX_LISTS:
            skips.add(url, _TOO_MANY_LISTS)
            listing.is_complete = False
        elif len(listing.urls) >= most:
            skips.add(url, _too_many(most))
        else:
            seen.add(url)
            try:
                _add(listing, url, read(url), waiting, most, skips)
            except UnreadList as error:
                skips.add(url, error.reason)
                listing.is_complete &= error.is_gone
    return listing


def _add(listing: Listing, url: str, found: PageList, waiting: deque[str], most: int, skips: SkipReport) -> None:
    """Add the pages of a list to the listing, or the lists that it names to those that wait."""
    if found.nameless_count:
        skips.count(url, "an entry of a feed or sitemap that names no page", found.nameless_count)
    if found.kind is ListKind.PAGES:
        _add_pages(listing, found.urls, most, skips)
        return
    room = max(0, MAX_LISTS - len(waiting))
    waiting.extend(found.urls[:room])
    if found.urls[room:]:
        skips.count(url, _TOO_MANY_LISTS, len(found.urls) - room)
        listing.is_complete = False


def _add_pages(listing: Listing, urls: list[str], most: int, skips: SkipReport) -> None:
    for url in urls:
        if url in listing.urls:
            continue
        if len(listing.urls) >= most:
            skips.add(url, _too_many(most))
        else:
            listing.urls[url] = None


def _too_many(most: int) -> str:
    return f"more than {most} pages are listed (WATCH_URL_PAGES)"
