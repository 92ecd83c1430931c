"""A web site on this machine whose pages a test writes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Writes an answer of its own instead of a page.
Act = Callable[[BaseHTTPRequestHandler], None]
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"


class Site:
    """Answers with its pages by path, and records the requests."""

    def __init__(self) -> None:
        #: Texts, statuses without a page, or functions that write the answer, by path.
        self.pages: dict[str, str | int | Act] = {}
        #: The paths of all requests with the status of the answer, in their order, without robots.txt.
        self.requests: list[tuple[str, int]] = []
        self.agents: set[str] = set()
        self.url = ""
        #: Is set at the end: functions that let a client wait wait for it.
        self.ended = threading.Event()

    def sitemap(self, *paths: str, kind: str = "urlset", entry: str = "url") -> str:
        """Return a sitemap of pages, or one of sitemaps."""
        entries = "".join(f"<{entry}><loc>{self.absolute(path)}</loc></{entry}>" for path in paths)
        return f'<?xml version="1.0"?><{kind} xmlns="{SITEMAP}">{entries}</{kind}>'

    def absolute(self, path: str) -> str:
        return path if "://" in path else self.url + path

    def count(self, path: str, status: int) -> int:
        """Return how often a path was answered with a status."""
        return self.requests.count((path, status))

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.agents.add(handler.headers["user-agent"])
        page = self.pages.get(handler.path, 404)
        status = page if isinstance(page, int) else 200
        if isinstance(page, str):
            etag = f'"{hashlib.sha256(page.encode()).hexdigest()[:16]}"'
            status = 304 if handler.headers["if-none-match"] == etag else 200
        if handler.path != "/robots.txt":
            self.requests.append((handler.path, status))
        if callable(page):
            page(handler)
            return
        body = page.encode() if isinstance(page, str) and status == 200 else b""
        handler.send_response(status)
        if isinstance(page, str):
            handler.send_header("etag", etag)
            handler.send_header("content-type", "text/xml" if page.startswith("<?xml") else "text/html; charset=utf-8")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def served_site() -> Iterator[Site]:
    """Serve a site until the end of the block."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.answer(self)

        def log_message(self, *_: Any) -> None:
            """Write no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients leave in the middle of answers
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        site.ended.set()
        server.shutdown()
        thread.join(10)
        server.server_close()
