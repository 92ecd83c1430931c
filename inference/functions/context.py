"""The context that a function can take: ports to the rest of the system."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import httpx

from core.messages import Hit
from inference.functions.errors import FunctionError

#: Enough for an hourly forecast of two weeks, too little to fill the memory.
MAX_RESPONSE_BYTES = 2**20
HTTP_TIMEOUT_SECONDS = 10.0


class DocumentSearch(Protocol):
    """The port to searching the ingested documents; the caller of the functions provides the adapter."""

    def search(self, query: str, top_k: int, collection: str | None) -> Sequence[Hit]:
        """Return the best `top_k` chunks, best first; from all collections if `collection` is None.

        Raises:
            core.errors.LlmApiError: if the search is not available now.
        """
        ...


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class FunctionContext:
    """Passed to the parameter annotated `FunctionContext`, which is hidden from the model.

    `base_urls` maps a host to a URL that replaces it: a mirror, or a test's own server.
    """

    documents: DocumentSearch | None = None
    base_urls: Mapping[str, str] = field(default_factory=dict)
    now: Callable[[], datetime] = _utc_now
    allowed_hosts: frozenset[str] = frozenset()

    def for_hosts(self, hosts: frozenset[str]) -> FunctionContext:
        """Return the same context for a function that declared these hosts."""
        return replace(self, allowed_hosts=hosts)

    def get_json(self, host: str, path: str, params: Mapping[str, str | int | float]) -> Any:
        """Return the JSON from `https://host/path`, without following redirects.

        Raises:
            FunctionError: if the host was not declared, cannot be reached, or does not answer with JSON.
        """
        if host not in self.allowed_hosts:
            raise FunctionError(f"This function may not call {host}: it did not declare it.")
        base = self.base_urls.get(host, f"https://{host}")
        try:
            status, body = _download(base.rstrip("/") + path, params)
        except httpx.TimeoutException:
            raise FunctionError(f"{host} did not answer within {HTTP_TIMEOUT_SECONDS:.0f} seconds.") from None
        except httpx.HTTPError as error:
            raise FunctionError(f"{host} cannot be reached: this server may be offline ({error}).") from error
        return _decoded(host, status, body)


def _download(url: str, params: Mapping[str, str | int | float]) -> tuple[int, bytes]:
    body = bytearray()
    with (
        httpx.Client(timeout=HTTP_TIMEOUT_SECONDS, follow_redirects=False) as client,
        client.stream("GET", url, params=dict(params)) as response,
    ):
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MAX_RESPONSE_BYTES:
                raise FunctionError(f"{response.url.host} answered more than {MAX_RESPONSE_BYTES} bytes.")
        return response.status_code, bytes(body)


def _decoded(host: str, status: int, body: bytes) -> Any:
    try:
        answer = json.loads(body)
    except ValueError:
        raise FunctionError(f"{host} answered with status {status} and no JSON.") from None
    if status != httpx.codes.OK:
        reason = answer.get("reason") if isinstance(answer, dict) else None
        raise FunctionError(f"{host} refused the request with status {status}: {reason or 'no reason given'}.")
    return answer
