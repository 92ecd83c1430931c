"""What holds for every source: the same tests for a watched folder and a web site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from core.catalog import Document, FolderState
from tests.integration.watchers.site import served_site
from tests.integration.watchers.world import World
from tests.support import wait_until


class Place(Protocol):
    """Where the items of a source are."""

    key: str
    world: World

    def put(self, name: str, text: str) -> None:
        """Add or change an item."""

    def remove(self, name: str) -> None:
        """Remove an item."""

    def put_unwanted(self) -> None:
        """Add an item that is skipped."""


class FolderPlace:
    """A watched folder."""

    def __init__(self, make_world: Callable[..., World], folder: Path) -> None:
        self._folder = folder / "inbox"
        self.key = str(self._folder)
        self.world = make_world(watch_dirs=(f"{self.key}=papers",), watch_rescan_seconds=1)

    def put(self, name: str, text: str) -> None:
        self._folder.mkdir(exist_ok=True)
        (self._folder / f"{name}.txt").write_text(text)

    def remove(self, name: str) -> None:
        (self._folder / f"{name}.txt").unlink()

    def put_unwanted(self) -> None:
        (self._folder / "half.part").write_text("half")


class WebPlace:
    """A sitemap."""

    def __init__(self, make_world: Callable[..., World], url: str, pages: dict[str, str]) -> None:
        self._pages = pages
        self._listed: list[str] = []
        self._site_url = url
        self.key = f"{url}/sitemap.xml"
        self.world = make_world(
            watch_dirs=(), watch_urls=(f"{self.key}=papers",), watch_url_seconds=1, watch_urls_allow_private=True
        )
        self._list()

    def _list(self) -> None:
        entries = "".join(f"<url><loc>{self._site_url}{path}</loc></url>" for path in self._listed)
        self._pages["/sitemap.xml"] = f"<urlset>{entries}</urlset>"

    def put(self, name: str, text: str) -> None:
        self._pages[f"/{name}"] = text
        self._listed = [*dict.fromkeys([*self._listed, f"/{name}"])]
        self._list()

    def remove(self, name: str) -> None:
        del self._pages[f"/{name}"]
        self._listed.remove(f"/{name}")
        self._list()

    def put_unwanted(self) -> None:
        self._listed.append("/missing")
        self._list()


@pytest.fixture(params=["folder", "web"])
def place(request: pytest.FixtureRequest, make_world: Callable[..., World], tmp_path: Path) -> Iterator[Place]:
    if request.param == "folder":
        yield FolderPlace(make_world, tmp_path)
        return
    with served_site() as site:
        yield WebPlace(make_world, site.url, site.pages)  # type: ignore[arg-type]


def documents(place: Place) -> list[Document]:
    return sorted(place.world.catalog.find_documents(place.key), key=lambda document: document.filename)


def names(place: Place) -> list[str]:
    return [document.filename.partition(".")[0] for document in documents(place)]


def test_the_documents_follow_the_items(place: Place) -> None:
    place.put("a", "one")
    place.put("b", "two")
    place.world.start()
    wait_until(lambda: names(place) == ["a", "b"])
    first, second = documents(place)
    assert {first.collection, second.collection} == {"papers"}
    wait_until(lambda: set(place.world.messenger.ingested) == {first.id, second.id})
    place.put("a", "three")
    wait_until(lambda: [document.generation for document in documents(place)] == [2, 1])
    assert [document.id for document in documents(place)] == [first.id, second.id]
    place.remove("a")
    wait_until(lambda: names(place) == ["b"])
    wait_until(lambda: place.world.messenger.wake_ups)


def test_a_source_tells_its_state_and_what_it_skips(place: Place) -> None:
    place.put("a", "one")
    place.put_unwanted()
    place.world.start()
    wait_until(lambda: len(place.world.catalog.list_skipped("papers").items) == 1 and names(place) == ["a"])
    [folder] = place.world.catalog.watched_folders()
    assert (folder.root, folder.collection, folder.mode) == (place.key, "papers", "mirror")
    assert folder.state is FolderState.WATCHED
    info = {"path": place.key, "collection": "papers", "mode": "mirror", "state": "watched"}
    assert place.world.info["folders"] == [info]
    wait_until(lambda: place.world.info["waiting"] == 0)
    [coverage] = place.world.catalog.coverage("papers")
    assert sum(coverage.skipped.values()) == 1


def test_changes_while_it_was_stopped_are_found(place: Place) -> None:
    place.put("a", "one")
    place.put("b", "two")
    place.world.start()
    wait_until(lambda: names(place) == ["a", "b"])
    place.world.stop()
    place.put("a", "three")
    place.remove("b")
    place.put("c", "four")
    place.world.start()
    wait_until(lambda: names(place) == ["a", "c"])
    wait_until(lambda: [document.generation for document in documents(place)] == [2, 1])


def test_a_deleted_document_stays_deleted_until_its_item_changes(place: Place) -> None:
    place.put("a", "one")
    place.world.start()
    wait_until(lambda: names(place) == ["a"])
    place.world.catalog.delete_document(documents(place)[0].id)
    wait_until(lambda: len(place.world.catalog.list_skipped("papers").items) == 1)
    assert names(place) == []
    place.put("a", "two")
    wait_until(lambda: names(place) == ["a"])
