"""Downloads a file of the hub: from where a former attempt has stopped, and verified by its SHA-256."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import httpx

from core.errors import NotFound, Unavailable
from core.models.hub import HUB_UNAVAILABLE, TIMEOUT_SECONDS, RemoteFile, RemoteModel, needs_permission, no_hub

log = logging.getLogger(__name__)

#: Attempts in a row that bring no byte, and the pauses between them.
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)
CHUNK_BYTES = 2**18

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class PullStopped(Exception):
    """The caller has asked to stop. What has been downloaded is kept for the next attempt."""


class _Broken(Exception):
    """The connection broke, or the hub answers that it is busy."""


class Downloader:
    """Downloads the files of a model. `stop` ends it at the next piece of data, or when the connection is silent."""

    def __init__(self, model: RemoteModel, stop: threading.Event, on_bytes: Callable[[int], None]) -> None:
        """
        Args:
            model: what to download from.
            stop: set, by any thread, to stop.
            on_bytes: called with the number of bytes that have been added to a file; negative if some were dropped.
        """
        from huggingface_hub import constants, get_token

        self._model, self._stop, self._on_bytes = model, stop, on_bytes
        self._endpoint = constants.ENDPOINT
        token = get_token()
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._client = httpx.Client(headers=headers, follow_redirects=True, timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        self._client.close()

    def download(self, file: RemoteFile, target: Path) -> None:
        """Download a file into `target`, after the bytes that it has, and verify it. Keep what is there on errors.

        Raises:
            PullStopped: `stop` was set.
            Unavailable: the hub cannot be reached, or the checksum is wrong; then `target` is removed.
            NotFound, PermissionDenied: the hub does not give the file away.
            OSError: the file cannot be written.
        """
        with target.open("a+b") as output:
            digest = hashlib.sha256()
            self._read_again(output, digest.update)
            failures = 0
            while (done := output.seek(0, os.SEEK_END)) < file.bytes:
                try:
                    for piece in self._pieces(file, done):
                        output.write(piece)
                        digest.update(piece)
                        failures = 0
                        self._on_bytes(len(piece))
                        self._check()
                except _Broken as error:
                    output.flush()
                    if failures == len(RETRY_SECONDS):
                        raise Unavailable(
                            f"The connection to {self._endpoint} broke {failures + 1} times in a row ({error}). Pull "
                            f"again: it goes on where it has stopped.",
                            code=HUB_UNAVAILABLE,
                        ) from error
                    log.warning("%s: %s; trying again", file.path, error)
                    self._stop.wait(RETRY_SECONDS[failures])
                    self._check()
                    failures += 1
            output.flush()
            os.fsync(output.fileno())
        if done != file.bytes or digest.hexdigest() != file.sha256:
            target.unlink()
            self._on_bytes(-done)
            raise Unavailable(
                f"{file.path} of {self._model.repo} has another SHA-256 than the hub says ({digest.hexdigest()}, "
                f"not {file.sha256}), so it has been removed. Pull it again.",
                code="wrong_checksum",
            )

    def _read_again(self, output: BinaryIO, update: Callable[[bytes], None]) -> None:
        output.seek(0)
        while piece := output.read(CHUNK_BYTES):
            update(piece)
            self._check()

    def _pieces(self, file: RemoteFile, done: int) -> Iterator[bytes]:
        """Yield the bytes of a file from `done` on.

        Raises:
            _Broken: the connection ended before the file.
        """
        url = f"{self._endpoint}/{self._model.repo}/resolve/{quote(self._model.revision)}/{quote(file.path)}"
        left = file.bytes - done
        try:
            with self._client.stream("GET", url, headers={"Range": f"bytes={done}-"}) as response:
                skipped = self._check_answer(response, file, done)
                for piece in response.iter_bytes():
                    new = piece[skipped : skipped + left]
                    skipped = max(0, skipped - len(piece))
                    left -= len(new)
                    yield new
                    if not left:
                        return
        except httpx.TransportError as error:
            raise _Broken(str(error) or type(error).__name__) from error
        except httpx.HTTPError as error:  # such as too many redirects
            raise no_hub(self._endpoint, str(error)) from error
        raise _Broken(f"it ended {left:,} bytes before the end of the file")

    def _check_answer(self, response: httpx.Response, file: RemoteFile, done: int) -> int:
        """Return how many bytes of the answer are there already: all of them if the hub does not answer in part."""
        status = response.status_code
        if status in _RETRIED:
            raise _Broken(f"status {status}")
        if status in (401, 403):
            raise needs_permission(self._model.repo)
        if status == 404:
            raise NotFound(f"The repository {self._model.repo} no longer has {file.path}.", param="model")
        ranged = response.headers.get("content-range")
        if status == 206 and ranged == f"bytes {done}-{file.bytes - 1}/{file.bytes}":
            return 0
        if status == 200 and response.headers.get("content-length") == str(file.bytes):
            return done
        kind = response.headers.get("content-type", "no content type")
        raise no_hub(
            self._endpoint,
            f"instead of {file.bytes - done:,} bytes of {file.path} it answers with status {status}, {kind}"
            + (f", {ranged}" if ranged else ""),
        )

    def _check(self) -> None:
        if self._stop.is_set():
            raise PullStopped
