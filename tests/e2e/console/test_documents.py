"""The documents page in a browser: dropped files and folders, reasons of failures, vanished folders, two windows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.console.browsing import NEEDS_CHROMIUM, Person, assert_fits, drop, keep
from tests.e2e.console.server import api, upload
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(900), NEEDS_CHROMIUM]


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def in_collection(person: Person, stack: Stack, name: str) -> Page:
    """Return the documents page of a collection that is made if there is none."""
    httpx.post(f"{stack.base_url}/v1/rag/collections", json={"name": name}, timeout=60)
    page = person.open(f"documents?collection={name}")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    return page


def test_dropped_files_are_indexed_and_a_broken_one_says_why(person: Person, stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "tea.txt").write_text("Green tea is steeped for two minutes.")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 this is not one")
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "room.md").write_text("# Rooms\n\nThe meeting room is called Neptune.")
    page = in_collection(person, stack, "dropped")
    drop(page, tmp_path / "tea.txt", tmp_path / "broken.pdf", folder)
    for name in ("tea.txt", "room.md"):
        expect(row(page, name)).to_contain_text("Completed")
    failed = row(page, "broken.pdf")
    expect(failed).to_contain_text("Failed")
    with api(stack) as http:
        (document,) = http.get("/v1/rag/documents", params={"collection": "dropped", "status": "failed"}).json()["data"]
    expect(failed).to_contain_text(document["error"])
    assert_fits(page)
    keep(page, "documents-failed")
    failed.get_by_role("button", name=re.compile("Try .*broken.pdf.* again")).click()
    expect(failed).to_contain_text("Failed")


def test_a_document_shows_its_text_by_chunks(person: Person, stack: Stack) -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "The harbour opens at dawn. " * 30 for number in range(12))
    document = upload(stack, "harbour", {"harbour.txt": text.encode()})["harbour.txt"]
    page = person.open(f"documents/{document['id']}")
    expect(page.get_by_role("heading", level=1)).to_have_text("harbour.txt")
    expect(page.get_by_role("main")).to_contain_text("Paragraph 0. The harbour opens at dawn.")
    assert_fits(page)
    keep(page, "document")


def test_an_upload_of_one_person_appears_on_the_page_of_another(
    browser: Browser, person: Person, stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "shared.txt").write_text("The bridge closes at nine in the evening.")
    first = in_collection(person, stack, "both")
    with Person(browser, stack.base_url) as other:
        second = in_collection(other, stack, "both")
        drop(first, tmp_path / "shared.txt")
        for page in (first, second):
            expect(row(page, "shared.txt")).to_contain_text("Completed")
        first.get_by_role("button", name=re.compile("Delete .*shared.txt")).click()
        first.get_by_role("dialog").get_by_role("button", name="Delete").click()
        for page in (first, second):
            expect(row(page, "shared.txt")).to_have_count(0)


def test_the_deletions_of_a_vanished_folder_are_confirmed(person: Person, stack: Stack) -> None:
    for number in range(8):
        (stack.inbox / f"leaflet{number}.txt").write_text(f"Leaflet {number} is about the bus line {number * 7}.")
    with api(stack) as http:
        wait_until(lambda: _watched(http)["documents"] >= 8, 180, "the documents of the folder")
        page = person.open("documents")
        expect(row(page, "leaflet3.txt")).to_contain_text("Completed")
        shutil.rmtree(stack.inbox)
        wait_until(lambda: _watched(http)["missing"] >= 8, 180, "the note of missing files")
        notice = page.get_by_role("status").filter(has_text="has vanished")
        expect(notice).to_contain_text(str(stack.inbox))
        keep(page, "documents-vanished")
        notice.get_by_role("button", name="Confirm the deletion").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        wait_until(lambda: _watched(http)["documents"] == 0, 180, "the deletion of the documents")
        expect(row(page, "leaflet3.txt")).to_have_count(0)
        stack.inbox.mkdir()
        wait_until(lambda: _watched(http)["state"] == "watched", 180, "the new folder's watching")


def _watched(http: httpx.Client) -> dict[str, Any]:
    (folder,) = http.get("/v1/watch").json()["data"]
    return dict(folder)
