"""The documents of a watched URL's pages in the catalog."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from core.blobs import BlobStore, StagedBlob
from core.catalog import Catalog, MirroredFile, NewDocument, PageVersion, Source
from core.watch_urls import WatchUrl
from watchers.hints import WorkHints
from watchers.web.fetcher import Answer
from watchers.web.names import attributes_of, filename_of

logger = logging.getLogger(__name__)


class PageStore:
    """The documents of one watched URL, as they were when this was made. Its methods may raise `Unavailable`."""

    def __init__(self, site: WatchUrl, catalog: Catalog, blobs: BlobStore, hints: WorkHints) -> None:
        self._site = site
        self._catalog = catalog
        self._blobs = blobs
        self._hints = hints
        self._rows = {row.path: row for row in catalog.mirrored_files(site.url)}
        #: Pages whose documents were deleted over the API: they are ignored until their content changes.
        self._ignored = {row.path: row for row in catalog.ignored_files(site.url)}
        self._versions = catalog.page_versions(site.url)

    @property
    def rows(self) -> Collection[MirroredFile]:
        """The documents of the site, without those that are ignored."""
        return self._rows.values()

    def has(self, url: str) -> bool:
        """Return whether a page has a document, or is ignored."""
        return url in self._rows or url in self._ignored

    def is_ignored(self, url: str) -> bool:
        """Return whether the document of a page was deleted over the API, and its content has not changed since."""
        return url in self._ignored and url not in self._rows

    def version(self, url: str) -> PageVersion | None:
        """Return the version of a page whose document is up to date with it, or None if it has to be read."""
        row = self._rows.get(url)
        if row is None:
            return self._versions.get(url) if url in self._ignored else None
        if row.collection != self._site.collection or row.has_lost_file or row.blob_key is None:
            return None
        return self._versions.get(url)

    def store(self, url: str, answer: Answer, staged: StagedBlob) -> None:
        """Make a page that was read a document, or a new version of its document, unless it has not changed."""
        row, ignored = self._rows.get(url), self._ignored.get(url)
        if row is not None and self._is_same(row, staged):
            self._save_version(url, answer.version)
            return
        if row is None and ignored is not None:
            if ignored.content_hash == staged.content_hash:
                self._save_version(url, answer.version)
                return
            self._catalog.stop_ignoring([ignored.document_id])
            del self._ignored[url]
        blob = staged.commit()
        document = self._catalog.add_document(
            NewDocument(
                collection=self._site.collection,
                filename=filename_of(answer.url, answer.media_type),
                source=Source.WATCH,
                content_hash=blob.content_hash,
                size_bytes=blob.size_bytes,
                blob_key=blob.key,
                root=self._site.url,
                path=url,
                attributes=attributes_of(url),
            )
        )
        for unused in {blob.key, row.blob_key if row is not None else None} - {document.blob_key, None}:
            self._blobs.delete(str(unused))
        self._save_version(url, answer.version)
        self._hints.dispatch([document.id])
        logger.info("%s: %s (%s)", "added" if row is None else "changed", url, document.id)

    def _is_same(self, row: MirroredFile, staged: StagedBlob) -> bool:
        is_stored = row.blob_key is not None and not row.has_lost_file
        return is_stored and (row.content_hash, row.collection) == (staged.content_hash, self._site.collection)

    def _save_version(self, url: str, version: PageVersion) -> None:
        if self._versions.get(url) != version:
            self._catalog.save_page_version(self._site.url, url, version)

    def delete(self, rows: Sequence[MirroredFile]) -> None:
        """Delete the documents of pages that are gone."""
        self._catalog.delete_documents(row.document_id for row in rows)
        self._catalog.forget_pages(self._site.url, [row.path for row in rows])
        for row in rows:
            logger.info("deleted: %s (%s)", row.path, row.document_id)
        if rows:
            self._hints.wake_indexer()

    def forget_ignored(self, listed: Collection[str]) -> None:
        """Stop ignoring the pages that are no longer listed: if they come back, they are documents again."""
        gone = [row for url, row in self._ignored.items() if url not in listed]
        if gone:
            self._catalog.stop_ignoring([row.document_id for row in gone])
            self._catalog.forget_pages(self._site.url, [row.path for row in gone])
