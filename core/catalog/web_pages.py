"""Watched web pages: what their servers said of their content, to ask for changes only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.rows import batches
from core.catalog.tables import web_pages


class PageVersion(NamedTuple):
    """The values of the headers `ETag` and `Last-Modified` with which a server answered for a page, if it did."""

    etag: str | None
    last_modified: str | None


class WebPageQueries(MigratedDatabase):
    """The part of the catalog about watched web pages."""

    def page_versions(self, root: str) -> dict[str, PageVersion]:
        """Return the versions of the pages of a watched URL, by the pages' URLs."""
        columns = web_pages.c
        query = sa.select(columns.url, columns.etag, columns.last_modified).where(columns.root == root)
        with self._read() as connection:
            return {row.url: PageVersion(row.etag, row.last_modified) for row in connection.execute(query)}

    def save_page_version(self, root: str, url: str, version: PageVersion) -> None:
        """Record the version of a page that was read."""
        values = {"etag": version.etag, "last_modified": version.last_modified}
        with self._write() as connection:
            change = sa.update(web_pages).where(web_pages.c.root == root, web_pages.c.url == url)
            if connection.execute(change.values(**values)).rowcount == 0:
                connection.execute(sa.insert(web_pages).values(root=root, url=url, **values))

    def forget_pages(self, root: str, urls: Iterable[str]) -> None:
        """Forget the versions of pages that are gone."""
        for batch in batches(urls):
            with self._write() as connection:
                found = sa.delete(web_pages).where(web_pages.c.root == root, web_pages.c.url.in_(batch))
                connection.execute(found)
