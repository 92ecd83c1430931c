"""Refuses what a foreign web page can make a browser send: docs/limits.md, "Browsers"."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from core.errors import PermissionDenied
from core.settings import LOOPBACK_HOSTS, Settings

ANY = "*"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: The values of `Sec-Fetch-Site` of requests that no other page has caused. Pages cannot set this header.
OWN_SITES = frozenset({"same-origin", "none"})
#: An IPv6 address with an optional port.
_BRACKETED = re.compile(r"\[([0-9a-f:.]+)\](?::\d*)?")


class BrowserCheck:
    """Checks `Host` against DNS rebinding, and `Origin` and `Sec-Fetch-Site` against requests that other pages send.

    Programs other than browsers send no `Origin`. They are concerned by the check of `Host` only.
    """

    def __init__(self, settings: Settings) -> None:
        self._hosts = _allowed_hosts(settings)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in settings.cors_origins)

    def check(self, method: str, headers: Headers) -> None:
        """Check the headers of a request.

        Raises:
            PermissionDenied: the host is not allowed, or another site's page sent the request.
        """
        for host in headers.getlist("host"):
            if not self._is_allowed_host(host):
                raise PermissionDenied(
                    f"The host {host!r} is not allowed here. Add its name to ALLOWED_HOSTS to allow it.",
                    code="host_not_allowed",
                )
        if method not in SAFE_METHODS and not self._is_own(headers):
            origin = headers.get("origin", "another site")
            raise PermissionDenied(
                f"A page of {origin!r} may not send this request. Add its origin to CORS_ORIGINS to allow it.",
                code="origin_not_allowed",
            )

    def _is_allowed_host(self, header: str) -> bool:
        name = _host_name(header)
        if ANY in self._hosts or name in self._hosts or _is_address(name):
            return True
        parents = name.split(".")[1:]
        return any("*." + ".".join(parents[at:]) in self._hosts for at in range(len(parents)))

    def _is_own(self, headers: Headers) -> bool:
        """Return whether the sender is no browser, a page of this server, or a page that CORS_ORIGINS allows."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and (ANY in self._origins or origin.lower() in self._origins):
            return True
        if site is not None:
            return site in OWN_SITES
        return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def is_same_origin(method: str, headers: Headers) -> bool:
    """Return whether a browser's request is from a page of this server, whatever CORS_ORIGINS allows.

    What only reads may also be opened by its user: from the address bar, or from a bookmark.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    is_safe = method in SAFE_METHODS
    if site is not None:
        return site == "same-origin" or (is_safe and site in OWN_SITES)
    if origin is None:
        return is_safe
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _allowed_hosts(settings: Settings) -> frozenset[str]:
    """Return the names under which this server may be called, in lower case. Addresses are always allowed.

    An address cannot be rebound: a browser that sends one has connected to that address.
    """
    names = {"localhost", "*.localhost", settings.host, *settings.allowed_hosts}
    if settings.host not in LOOPBACK_HOSTS:
        own = socket.gethostname()
        names |= {own, f"{own.partition('.')[0]}.local"}
    return frozenset(name.lower().rstrip(".") for name in names)


def _host_name(header: str) -> str:
    """Return the name or address in a `Host` header, in lower case, without the port, brackets and a final dot."""
    host = header.strip().lower()
    if bracketed := _BRACKETED.fullmatch(host):
        return bracketed[1]
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
