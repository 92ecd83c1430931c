"""A small client of the API for the commands: readable errors, lists page by page, streams of events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from cli.readiness import api_url
from core.errors import InvalidRequest, LlmApiError, Unavailable
from core.settings import LOOPBACK_HOSTS, Settings

PAGE_SIZE = 100
CONNECT_TIMEOUT_SECONDS = 5.0
#: A stream that is silent for this long is broken: the API sends a comment much more often.
READ_TIMEOUT_SECONDS = 120.0

OTHER_SERVER = "API_KEYS are only sent to the server at HOST and PORT: give a key for this one by --api-key."

Json = dict[str, Any]


class RequestRefused(LlmApiError):
    """The API answered with an error; the message is the API's own."""


class ApiClient:
    """Calls the API at `url`, or at the address in this machine's settings. A context manager.

    Every method raises `Unavailable` if nothing answers, and `RequestRefused` if the answer is an error.
    """

    def __init__(self, settings: Settings, url: str | None = None, api_key: str | None = None) -> None:
        self.url = (url or api_url(settings)).rstrip("/")
        # The keys of the settings are those of the server that they configure. Another server must not learn them.
        self._is_own = _is_same_server(self.url, api_url(settings))
        keys = [api_key] if api_key else settings.plain_api_keys if self._is_own else []
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {keys[0]}"} if keys else {},
            timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
            # A proxy from the environment must not be used for requests to this machine.
            trust_env=urlsplit(self.url).hostname not in LOOPBACK_HOSTS,
        )

    def __enter__(self) -> ApiClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, **params: Any) -> Json:
        """Send a `GET` request, without parameters that are None, and return the answer."""
        return self._json("GET", path, params=_without_none(params))

    def post(self, path: str, body: Json | None = None) -> Json:
        """Send a `POST` request with a JSON body, without fields that are None, and return the answer."""
        return self._json("POST", path, json=_without_none(body) if body is not None else None)

    def patch(self, path: str, changes: Json) -> Json:
        """Send a `PATCH` request with the fields to change, and return the answer. None is sent as null."""
        return self._json("PATCH", path, json=changes)

    def delete(self, path: str) -> Json:
        """Send a `DELETE` request, and return the answer."""
        return self._json("DELETE", path)

    def listed(self, path: str, limit: int, **params: Any) -> list[Json]:
        """Return the first `limit` items of a list, from as many pages as necessary."""
        items: list[Json] = []
        while len(items) < limit:
            page = self.get(
                path, limit=min(PAGE_SIZE, limit - len(items)), after=items[-1]["id"] if items else None, **params
            )
            items += page["data"]
            if not page["has_more"] or not page["data"]:
                break
        return items

    def upload(self, body: Iterator[bytes], content_type: str) -> Json:
        """Upload a multipart body, which is generated while it is sent."""
        return self._json("POST", "/v1/rag/documents/upload", content=body, headers={"content-type": content_type})

    def stream(self, path: str, body: Json) -> Iterator[Json]:
        """Send a `POST` request for a stream, and yield the events until `[DONE]`."""
        with self._reachable(), self._client.stream("POST", path, json=_without_none(body)) as response:
            if response.status_code >= httpx.codes.BAD_REQUEST:
                response.read()
                raise self._refused(response)
            yield from _events(response)

    def _json(self, method: str, path: str, **options: Any) -> Json:
        with self._reachable():
            response = self._client.request(method, path, **options)
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise self._refused(response)
        return cast(Json, response.json())

    def _refused(self, response: httpx.Response) -> RequestRefused:
        try:
            error = response.json()["error"]
            detail = f" ({error['param']})" if error.get("param") else ""
            message = f"{error['message']}{detail}"
        except (ValueError, KeyError, TypeError):
            # The answer is not from the API; perhaps another program listens there.
            message = f"{self.url} answered {response.status_code} {response.reason_phrase}"
        is_keyless = response.status_code == httpx.codes.UNAUTHORIZED and "Authorization" not in self._client.headers
        return RequestRefused(f"{message} {OTHER_SERVER}" if is_keyless and not self._is_own else message)

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            message = f"Nothing answers at {self.url}. Start the API with `llm-api up`, or name its URL with --url."
            raise Unavailable(message) from error
        except httpx.TransportError as error:
            message = f"The connection to the API at {self.url} broke off: {error or type(error).__name__}"
            raise Unavailable(message) from error


def _is_same_server(url: str, own: str) -> bool:
    """Return whether a URL has the scheme, the host and the port of this machine's own API."""
    try:
        given, known = httpx.URL(url), httpx.URL(own)
    except httpx.InvalidURL as error:
        raise InvalidRequest(f"--url {url}: {error}") from error
    if (given.scheme, given.port) != (known.scheme, known.port):
        return False
    return given.host == known.host or {given.host, known.host} <= LOOPBACK_HOSTS


def multipart(files: Mapping[str, Path], fields: dict[str, str], boundary: str) -> Iterator[bytes]:
    """Yield the parts of a multipart body. Its files, by the name to send, are read while they are sent."""
    for name, value in fields.items():
        yield f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    for name, path in files.items():
        filename = name.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        yield (
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        try:
            with path.open("rb") as file:
                while block := file.read(256 * 1024):
                    yield block
        except OSError as error:
            raise InvalidRequest(
                f"{path} cannot be read: {error.strerror}. No file of this request was uploaded."
            ) from error
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _events(response: httpx.Response) -> Iterator[Json]:
    for line in _lines(response):
        if not line.startswith("data: "):
            continue
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            return
        event: Json = json.loads(data)
        if error := event.get("error"):
            raise RequestRefused(error["message"])
        yield event
    raise Unavailable("The answer broke off before its end.")


def _lines(response: httpx.Response) -> Iterator[str]:
    """Yield the lines of a stream of events. Unlike `iter_lines`, this divides it only where the stream's format does.

    Texts in it may contain other characters that Python takes for ends of lines, such as U+2028.
    """
    rest = b""
    for block in response.iter_bytes():
        *lines, rest = (rest + block).split(b"\n")
        yield from (line.rstrip(b"\r").decode() for line in lines)


def _without_none(values: Json) -> Json:
    return {name: value for name, value in values.items() if value is not None}
