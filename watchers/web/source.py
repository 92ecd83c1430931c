"""A watched URL as a source: its pages are visited at intervals, and their documents follow them."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from core.blobs import BlobStore
from core.catalog import UNREADABLE, Catalog, FolderState, PageVersion
from core.disk import DiskSpace
from core.errors import LlmApiError
from core.settings import Settings
from core.watch_roots import WatchMode
from core.watch_urls import WatchUrl
from watchers.folder import Stopped
from watchers.guard import Guard
from watchers.hints import Messenger, WorkHints
from watchers.skip_report import DELETED, SkipReport
from watchers.web.fetcher import Answer, Fetcher, FetchError
from watchers.web.listing import KnownList, Listing, UnreadList, listing_of, parsed_list
from watchers.web.lists import PageList
from watchers.web.pages import PageStore
from watchers.web.robots import Robots

logger = logging.getLogger(__name__)

#: The time before a retry when the catalog does not answer or the disk is full.
RETRY_SECONDS = 5.0
#: The time between two looks whether a person has confirmed held deletions.
CONFIRMATION_SECONDS = 2.0
#: After it was silent so many times in a row, a host is left alone until the next visit.
MOST_FAILURES = 3
#: Longer lists are not kept in memory, and are read again at each visit.
MAX_KEPT_URLS = 10_000
#: The answers to a page that is gone.
_GONE = frozenset({404, 410})
#: The answers of a server that wants to be left alone.
_BUSY = frozenset({429, 503})


class WebSource:
    """Mirrors the pages of one watched URL into the catalog until it is stopped."""

    def __init__(
        self,
        site: WatchUrl,
        settings: Settings,
        catalog: Catalog,
        messenger: Messenger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key, self.collection, self.mode = site.url, site.collection, site.mode
        self._site = site
        self._settings = settings
        self._catalog = catalog
        self._hints = WorkHints(catalog, messenger)
        self._guard = Guard(catalog, clock)
        self._disk = DiskSpace(settings)
        self._stopping = threading.Event()
        self._fetcher = Fetcher(
            self._stopping, max_bytes=settings.max_upload_bytes, allow_private=settings.watch_urls_allow_private
        )
        self._robots = Robots(self._fetcher)
        #: Lists as they were read last, by URL.
        self._lists: dict[str, KnownList] = {}
        #: How often in a row hosts were silent during the present visit.
        self._failures: Counter[str] = Counter()
        self._waiting_count = 0

    def identity(self) -> str:
        """Return what distinguishes the site from another one at its URL: nothing does."""
        return "web"

    @property
    def waiting_count(self) -> int:
        """The number of pages of the present visit that are still to be read."""
        return self._waiting_count

    def info(self) -> dict[str, Any]:
        """Return what the watcher announces about this source to the other processes."""
        state = self._guard.state(self).value
        return {"path": self.key, "collection": self.collection, "mode": self.mode.value, "state": state}

    def stop(self) -> None:
        """Make `run` return within a second or two."""
        self._stopping.set()

    def run(self) -> None:
        """Visit the pages until `stop` is called, from another thread."""
        try:
            while not self._stopping.is_set():
                self._wait(self._visit())
        except Stopped:
            logger.info("stopped while reading %s: it will be read after the next start", self.key)
        finally:
            self._fetcher.close()

    def _wait(self, seconds: float) -> None:
        """Wait for the next visit. While deletions are held, end the wait early if a person confirms them."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._stopping.is_set():
            is_held = self._guard.state(self) is FolderState.HELD
            self._stopping.wait(min(left, CONFIRMATION_SECONDS) if is_held else left)
            if is_held and self._is_confirmed():
                return

    def _is_confirmed(self) -> bool:
        try:
            return self._guard.is_confirmed(self)
        except LlmApiError as error:
            logger.warning("%s Retrying.", error.message)
            return False

    def _visit(self) -> float:
        """Visit the site, and return the seconds until the next visit."""
        try:
            if self._disk.is_short():
                return RETRY_SECONDS
            self._mirror()
        except LlmApiError as error:
            logger.warning("%s Retrying.", error.message)
            return RETRY_SECONDS
        except Stopped:
            raise
        except Exception:
            # A fault with one page must not end the mirroring of the others. The next visit tries it again.
            logger.exception("the visit of %s failed", self.key)
        return self._settings.watch_url_seconds

    def _mirror(self) -> None:
        skips, gone = SkipReport(self.key), set[str]()
        pages = PageStore(self._site, self._catalog, BlobStore(self._settings.blobs_path), self._hints)
        self._failures.clear()
        listing = self._listing(pages, skips, gone)
        urls = [url for url in listing.urls if url != self.key]
        for number, url in enumerate(urls):
            self._waiting_count = len(urls) - number
            self._take(url, pages, skips, gone)
        self._waiting_count = 0
        self._delete(pages, listing, gone)
        for url in listing.urls:
            if pages.is_ignored(url):
                skips.add(url, DELETED)
        self._catalog.save_skipped(self.key, skips.counts, skips.files)

    def _delete(self, pages: PageStore, listing: Listing, gone: set[str]) -> None:
        """Delete the documents of pages that are gone, unless they are so many that a person has to confirm it."""
        if self.mode is WatchMode.MIRROR:
            is_listed = listing.urls.__contains__ if listing.is_complete else lambda _: True
            lost = [row for row in pages.rows if row.path in gone or not is_listed(row.path)]
        else:
            lost = []
        if self._guard.is_confirmed(self):
            pages.delete(lost)
            self._guard.end_confirmation(self)
        elif listing.is_complete or not self._guard.knows(self):
            self._guard.check_scan(self, self.identity(), len(pages.rows), len(lost))
            if self._guard.may_delete(self):
                pages.delete(lost)
                self._guard.check_scan(self, self.identity(), self._catalog.count_in_root(self.key), 0)
        if listing.is_complete:
            pages.forget_ignored(listing.urls.keys() - gone)

    # Lists

    def _listing(self, pages: PageStore, skips: SkipReport, gone: set[str]) -> Listing:
        """Return the pages that the watched URL names. If it is a page itself, take it."""
        try:
            first = self._read_entry(pages)
        except UnreadList as error:
            skips.add(self.key, error.reason)
            gone.update([self.key] if error.is_gone else [])
            return Listing(is_complete=error.is_gone)
        if first is None:
            return Listing({self.key: None})
        return listing_of(self.key, first, self._read_list, self._settings.watch_url_pages, skips)

    def _read_entry(self, pages: PageStore) -> PageList | None:
        """Return what the watched URL lists, or None after it was taken as a page. Raise UnreadList."""
        known = pages.version(self.key) if pages.has(self.key) else None
        return self._read(self.key, known, pages)

    def _read_list(self, url: str) -> PageList:
        found = self._read(url, None, None)
        if found is None:
            raise UnreadList("it is neither a sitemap nor a feed, but was named as one")
        return found

    def _read(self, url: str, known: PageVersion | None, pages: PageStore | None) -> PageList | None:
        """Return what a list names. If it is no list, store it as a page, if `pages` are given, and return None."""
        known_list = self._lists.get(url)
        version = known_list.version if known_list is not None else known
        try:
            with self._fetcher.opened(url, version, self._check) as answer:
                self._note_status(url, answer.status)
                if answer.status == 304:
                    return known_list.content if known_list is not None else None
                if answer.status != 200:
                    reason = f"{UNREADABLE}: {_answered(answer.status)}"
                    raise UnreadList(reason, is_gone=answer.status in _GONE)
                return self._read_content(url, answer, pages)
        except FetchError as error:
            self._note_failure(url, error)
            raise UnreadList(f"{UNREADABLE}: {error.reason}") from error

    def _read_content(self, url: str, answer: Answer, pages: PageStore | None) -> PageList | None:
        with BlobStore(self._settings.blobs_path).stage() as staged:
            for block in answer.content():
                staged.write(block)
            found = parsed_list(staged.written(), answer.url)
            self._lists.pop(url, None)
            if found is not None and len(found.urls) <= MAX_KEPT_URLS:
                self._lists[url] = KnownList(answer.version, found)
            if found is None and pages is not None:
                pages.store(url, answer, staged)
            return found

    # Pages

    def _take(self, url: str, pages: PageStore, skips: SkipReport, gone: set[str]) -> None:
        """Read a page if it has changed. Report it if it cannot be read; add it to `gone` if there is none."""
        host = urlsplit(url).netloc
        if self._failures[host] >= MOST_FAILURES:
            skips.add(url, f"{UNREADABLE}: {host} was silent or asked for a pause; it is asked again at the next visit")
            return
        try:
            with self._fetcher.opened(url, pages.version(url), self._check) as answer:
                self._note_status(url, answer.status)
                if answer.status == 200:
                    with BlobStore(self._settings.blobs_path).stage() as staged:
                        for block in answer.content():
                            staged.write(block)
                        pages.store(url, answer, staged)
                elif answer.status in _GONE:
                    gone.add(url)
                    skips.add(url, _answered(answer.status))
                elif answer.status != 304:
                    skips.add(url, f"{UNREADABLE}: {_answered(answer.status)}")
        except _Disallowed as error:
            gone.add(url)
            skips.add(url, error.reason)
        except FetchError as error:
            self._note_failure(url, error)
            skips.add(url, f"{UNREADABLE}: {error.reason}")

    def _check(self, url: str) -> None:
        """Ask robots.txt whether a URL may be read, and wait as long as it wants between two requests.

        Raises:
            FetchError: it may not.
        """
        if not self._robots.allows(url):
            raise _Disallowed(f"robots.txt of {urlsplit(url).netloc} does not allow it")
        if self._stopping.wait(self._robots.delay_seconds(url)):
            raise Stopped

    def _note_status(self, url: str, status: int) -> None:
        host = urlsplit(url).netloc
        self._failures[host] = MOST_FAILURES if status in _BUSY else 0

    def _note_failure(self, url: str, error: FetchError) -> None:
        if error.is_silent:
            self._failures[urlsplit(url).netloc] += 1


class _Disallowed(FetchError):
    """robots.txt does not allow to read a page."""


def _answered(status: int) -> str:
    return f"the server answered {status}"


def web_sources(settings: Settings, catalog: Catalog, messenger: Messenger) -> list[WebSource]:
    """Return the watched URLs."""
    return [WebSource(site, settings, catalog, messenger) for site in settings.watch_sites]
