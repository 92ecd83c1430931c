"""The pages of the console: their headers, their files, and that they hold nothing that needs a key."""

from __future__ import annotations

import gzip
import re

import httpx
import pytest

from api.console.pages import PAGES, static_files

PATHS = [f"/console/{name}" for name in PAGES] + ["/console/documents/doc_1"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_loads_only_files_of_this_server_that_exist(http: httpx.AsyncClient, path: str) -> None:
    page = await http.get(path)
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    addresses = re.findall(r'(?:href|src)="([^"#]+)', page.text)
    assert addresses
    for address in addresses:
        assert address.startswith("/console/") or address == "/docs", address
        assert (await http.get(address)).status_code == 200, address
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", page.text)


async def test_modules_import_only_files_that_exist() -> None:
    for path, file in static_files.files.items():
        for imported in re.findall(r'^(?:import|export)[^;]*? from "([^"]+)"', file.content.decode(), re.MULTILINE):
            assert imported.startswith("."), f"{path} imports {imported}"
            target = httpx.URL(f"http://host/{path}").join(imported).path.removeprefix("/")
            assert target in static_files.files, f"{path} imports {imported}"


async def test_the_root_leads_to_the_first_page(http: httpx.AsyncClient) -> None:
    assert (await http.get("/")).headers["location"] == "/console/chat"
    assert (await http.get("/console")).headers["location"] == "/console/chat"


async def test_files_are_kept_by_browsers_until_they_change(http: httpx.AsyncClient) -> None:
    address = f"/console/static/{static_files.version}/js/dom.js"
    answer = await http.get(address)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.content == gzip.decompress(static_files.files["js/dom.js"].compressed)
    plain = await http.get(address, headers={"accept-encoding": "identity"})
    assert plain.content == answer.content
    assert (await http.get(address.replace(static_files.version, "0" * 16))).status_code == 404


async def test_unknown_pages_and_files_are_404(http: httpx.AsyncClient) -> None:
    assert (await http.get("/console/nothing")).status_code == 404
    assert (await http.get(f"/console/static/{static_files.version}/../pages.py")).status_code == 404


def test_the_first_page_is_small() -> None:
    assert sum(len(file.compressed) for file in static_files.files.values()) < 150_000
