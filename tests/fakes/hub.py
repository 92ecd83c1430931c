"""A server with the part of the Hugging Face hub's protocol that pulling a model needs, and with the hub's faults."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HTML = b"<!doctype html><title>Sign in to the hotel's network</title>"
PIECE_BYTES = 16_384


@dataclass
class Hub:
    """What the server has, what it does wrong, and what it has sent."""

    #: The content of files, by repository and path.
    repositories: dict[str, dict[str, bytes]]
    url: str = ""
    #: Repositories that ask for permission.
    gated: set[str] = field(default_factory=set)
    #: Files of which the checksum that the hub says is wrong, by path.
    wrong_checksums: set[str] = field(default_factory=set)
    #: After how many bytes the next answers with a file end, one for each answer.
    breaks: list[int] = field(default_factory=list)
    #: Whether everything is answered by a page.
    is_html: bool = False
    #: Whether files are answered by a page.
    files_are_html: bool = False
    has_ranges: bool = True
    #: If it is set, answers with a file wait for it after their first piece.
    hold: threading.Event | None = None
    #: Set once an answer waits.
    is_held: threading.Event = field(default_factory=threading.Event)
    #: The first byte that each answer with a file began with, and the first that it did not send, by path.
    sent: list[tuple[str, int, int]] = field(default_factory=list)
    #: The Authorization header of each request, by its path.
    tokens: dict[str, str | None] = field(default_factory=dict)

    def info(self, repo: str) -> dict[str, Any]:
        """Return what the API says of a repository."""
        return {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": list(self._siblings(repo))}

    def _siblings(self, repo: str) -> Iterator[dict[str, Any]]:
        for path, content in self.repositories[repo].items():
            digest = hashlib.sha256(content).hexdigest()
            if path in self.wrong_checksums:
                digest = digest[::-1]
            lfs = {"sha256": digest, "size": len(content), "pointerSize": 135}
            yield {"rfilename": path, "size": len(content), "blobId": "0" * 40, "lfs": lfs}


@contextmanager
def running_hub(repositories: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    """Run a hub with these files on a free port."""
    hub = Hub(repositories)

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        if hub.hold is not None:
            hub.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub, path = self.served, unquote(urlsplit(self.path).path)
        hub.tokens[path] = self.headers.get("Authorization")
        if hub.is_html:
            self._answer(200, HTML, "text/html")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
            self._answer_info(found[1])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            # As the hub does: the content is at another address.
            self._answer(302, b"", "text/plain", {"Location": f"{hub.url}/content/{found[1]}/{found[2]}"})
        elif found := re.fullmatch(r"/content/([^/]+/[^/]+)/(.+)", path):
            self._answer_file(found[1], found[2])
        else:
            self._answer(404, b"", "text/plain")

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer_info(self, repo: str) -> None:
        hub = self.served
        if repo in hub.gated:
            self._answer(403, b"{}", "application/json", {"X-Error-Code": "GatedRepo"})
        elif repo not in hub.repositories:
            self._answer(404, b"{}", "application/json", {"X-Error-Code": "RepoNotFound"})
        else:
            self._answer(200, json.dumps(hub.info(repo)).encode(), "application/json")

    def _answer_file(self, repo: str, path: str) -> None:
        hub = self.served
        if hub.files_are_html:
            self._answer(200, HTML, "text/html")
            return
        content = hub.repositories[repo][path]
        range_asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(range_asked[1]) if range_asked and hub.has_ranges else 0
        self.send_response(206 if range_asked and hub.has_ranges else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = min(len(content), start + hub.breaks.pop(0)) if hub.breaks else len(content)
        hub.sent.append((path, start, end))
        for at in range(start, end, PIECE_BYTES):
            self.wfile.write(content[at : min(end, at + PIECE_BYTES)])
            if hub.hold is not None:
                hub.is_held.set()
                hub.hold.wait(60)
        self.close_connection = self.close_connection or end < len(content)

    def _answer(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
