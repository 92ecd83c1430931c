"""Which addresses may be connected to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from watchers.web.connections import RefusedAddress, addresses_of, is_public

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1%eth0",
    "fd00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_this_machine_and_of_private_networks_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_one_private_address_of_a_host_suffices_to_refuse_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in ("93.184.216.34", "10.0.0.1", "93.184.216.34")]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    with pytest.raises(RefusedAddress, match=r"example\.org has the address 10\.0\.0\.1, which is not public"):
        addresses_of("example.org", 80, allow_private=False)
    assert addresses_of("example.org", 80, allow_private=True) == ["93.184.216.34", "10.0.0.1"]


def test_a_host_that_is_not_found_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", missing)
    with pytest.raises(RefusedAddress, match=r"the host example\.org is not found"):
        addresses_of("example.org", 80, allow_private=True)
