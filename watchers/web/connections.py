"""Connections to public addresses only, and for a limited time.

The address of a host is looked up once for a connection, checked, and connected to as it is. So a name server that
answers differently the next time, and a redirect, lead nowhere else.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

from watchers.folder import Stopped

#: How long a server may be silent.
SILENCE_SECONDS = 20.0
#: How long an answer may take in all.
ANSWER_SECONDS = 300.0
#: How often a wait is interrupted to look whether the watcher is stopped.
_SLICE_SECONDS = 0.5
#: IPv6 prefixes whose addresses contain an IPv4 address at their end.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class RefusedAddress(Exception):
    """A host has no address that may be connected to; the message says why."""


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the internet, also if it wraps an IPv4 address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and not found.is_reserved


def addresses_of(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Return the addresses of a host.

    Raises:
        RefusedAddress: it has none, or one of them is not public and `allow_private` is not set.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RefusedAddress(f"the host {host} is not found") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    private = [address for address in addresses if not is_public(address)]
    if private and not allow_private:
        raise RefusedAddress(
            f"{host} has the address {private[0]}, which is not public (WATCH_URLS_ALLOW_PRIVATE=true would allow it)"
        )
    return addresses


class _Stream(httpcore.NetworkStream):
    """A connection that is read until a deadline, and until the watcher stops."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float, stopping: threading.Event) -> None:
        self._stream = stream
        self._deadline = deadline
        self._stopping = stopping

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        began = time.monotonic()
        while True:
            if self._stopping.is_set():
                raise Stopped
            now = time.monotonic()
            if now >= min(self._deadline, began + (timeout or SILENCE_SECONDS)):
                raise httpcore.ReadTimeout
            try:
                return self._stream.read(max_bytes, _SLICE_SECONDS)
            except httpcore.ReadTimeout:
                continue

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _Stream(secured, self._deadline, self._stopping)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, stopping: threading.Event, *, allow_private: bool) -> None:
        self._inner = httpcore.SyncBackend()
        self._stopping = stopping
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        *others, last = addresses_of(host, port, allow_private=self._allow_private)
        deadline = time.monotonic() + ANSWER_SECONDS
        for address in others:
            try:
                found = self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
            return _Stream(found, deadline, self._stopping)
        found = self._inner.connect_tcp(last, port, timeout, local_address, socket_options)
        return _Stream(found, deadline, self._stopping)


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class CheckedTransport(httpx.BaseTransport):
    """A transport of httpx over such connections, with a new one for each request.

    Besides `RefusedAddress` and `watchers.folder.Stopped`, it raises the errors of httpcore.
    """

    def __init__(self, stopping: threading.Event, *, allow_private: bool) -> None:
        backend = _Backend(stopping, allow_private=allow_private)
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(), network_backend=backend, max_keepalive_connections=0
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    def close(self) -> None:
        self._pool.close()
