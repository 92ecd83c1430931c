"""Fetches web pages: only what has changed, over checked redirects, within limits of size and time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx

from core.catalog import PageVersion
from core.release import release
from watchers.web.connections import ANSWER_SECONDS, SILENCE_SECONDS, CheckedTransport, RefusedAddress

#: The name by which robots.txt addresses this program, and what it sends as its user agent.
AGENT = "llm-api"
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BLOCK_BYTES = 1 << 16


class FetchError(Exception):
    """A page could not be read; the message says why. `is_silent`: the server did not answer in time."""

    def __init__(self, reason: str, *, is_silent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_silent = is_silent


@dataclass(frozen=True)
class Answer:
    """The answer of a server, whose content has not been read yet."""

    #: After redirects.
    url: str
    status: int
    #: In lower case, without parameters; "" if the server names none.
    media_type: str
    version: PageVersion
    _response: httpx.Response
    _max_bytes: int

    def content(self) -> Iterator[bytes]:
        """Yield the content block by block.

        Raises:
            FetchError: it is too large, or the connection fails.
        """
        too_large = FetchError(f"it is larger than {self._max_bytes} bytes (MAX_UPLOAD_BYTES)")
        declared = self._response.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise too_large
        size = 0
        with _errors():
            for block in self._response.iter_bytes(_BLOCK_BYTES):
                size += len(block)
                if size > self._max_bytes:
                    raise too_large
                yield block


class Fetcher:
    """Fetches pages with one user agent. It keeps no cookies and uses no proxy."""

    def __init__(self, stopping: threading.Event, *, max_bytes: int, allow_private: bool) -> None:
        self._max_bytes = max_bytes
        self._client = httpx.Client(
            transport=CheckedTransport(stopping, allow_private=allow_private),
            timeout=SILENCE_SECONDS,
            trust_env=False,
            headers={"user-agent": f"{AGENT}/{release()}", "accept-encoding": "gzip", "accept": "*/*"},
        )

    @contextmanager
    def opened(
        self, url: str, known: PageVersion | None = None, check: Callable[[str], object] = lambda _: None
    ) -> Iterator[Answer]:
        """Ask for a page, and yield the answer: of status 304 if the known version is the present one.

        `check` is called with each URL on the way, and may raise.

        Raises:
            FetchError: the server cannot be reached, or may not be.
            Stopped: the watcher was stopped meanwhile.
        """
        headers = {}
        if known is not None and known.etag:
            headers["if-none-match"] = known.etag
        if known is not None and known.last_modified:
            headers["if-modified-since"] = known.last_modified
        for _ in range(MAX_REDIRECTS + 1):
            if urlsplit(url).scheme not in ("http", "https"):
                raise FetchError("it does not start with http:// or https://")
            check(url)
            with _errors():
                response = self._client.send(self._client.build_request("GET", url, headers=headers), stream=True)
            try:
                target = response.headers.get("location")
                if response.status_code not in _REDIRECTS or not target:
                    yield _answer(url, response, self._max_bytes)
                    return
                url = urljoin(url, target)
            finally:
                response.close()
        raise FetchError(f"it is redirected more than {MAX_REDIRECTS} times")

    def close(self) -> None:
        self._client.close()


def _answer(url: str, response: httpx.Response, max_bytes: int) -> Answer:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    version = PageVersion(response.headers.get("etag"), response.headers.get("last-modified"))
    return Answer(url, response.status_code, media_type, version, response, max_bytes)


@contextmanager
def _errors() -> Iterator[None]:
    """Turn the errors of a connection into FetchError."""
    try:
        yield
    except RefusedAddress as error:
        raise FetchError(str(error)) from error
    except (httpx.TimeoutException, httpcore.TimeoutException) as error:
        reason = f"the server was silent for {SILENCE_SECONDS:g} s, or took more than {ANSWER_SECONDS:g} s"
        raise FetchError(reason, is_silent=True) from error
    except (
        httpx.HTTPError,
        httpx.InvalidURL,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
        OSError,
        ValueError,
    ) as error:
        raise FetchError(f"the connection failed: {type(error).__name__}: {error}"[:300]) from error
