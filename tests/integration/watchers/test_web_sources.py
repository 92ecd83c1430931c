"""Watched web pages, feeds and sitemaps, from a real server on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from core.catalog import Document, DocumentState, FolderState
from tests.integration.watchers.site import Site, served_site
from tests.integration.watchers.world import World
from tests.support import wait_until

Make = Callable[..., World]
FEED = "<rss version='2.0'><channel><title>News</title>{}</channel></rss>"


@pytest.fixture
def site() -> Iterator[Site]:
    with served_site() as site:
        yield site


@pytest.fixture
def make(make_world: Make) -> Make:
    def make(*urls: str, **settings: object) -> World:
        allowed = {"watch_urls_allow_private": True, "watch_url_seconds": 1.0}
        return make_world(watch_dirs=(), watch_urls=urls, **(allowed | settings))

    return make


def documents(world: World, url: str) -> dict[str, Document]:
    return {document.path or "": document for document in world.catalog.find_documents(url)}


def skipped(world: World, collection: str = "default") -> dict[str, str]:
    return {one.path: one.reason for one in world.catalog.list_skipped(collection, limit=2000).items}


def text(world: World, document: Document) -> str:
    assert document.blob_key is not None
    return (world.settings.blobs_path / "originals" / document.blob_key).read_text()


def test_a_page_is_mirrored_and_asked_for_changes_only(site: Site, make: Make) -> None:
    site.pages["/docs/"] = "<p>the harbour opens at 6</p>"
    url = f"{site.url}/docs/"
    world = make(f"{url}=harbour")
    world.start()
    wait_until(lambda: documents(world, url))
    first = documents(world, url)[url]
    assert (first.collection, first.filename) == ("harbour", "docs.html")
    assert text(world, first) == "<p>the harbour opens at 6</p>"
    assert first.attributes["url"] == url and first.attributes["folder"] == "docs"
    assert world.messenger.ingested == [first.id]
    wait_until(lambda: site.count("/docs/", 304) >= 2)
    assert site.count("/docs/", 200) == 1
    assert all(agent.startswith("llm-api/") for agent in site.agents)
    site.pages["/docs/"] = "<p>the harbour opens at 7</p>"
    wait_until(lambda: documents(world, url)[url].generation == 2)
    second = documents(world, url)[url]
    assert (second.id, text(world, second)) == (first.id, "<p>the harbour opens at 7</p>")
    assert not (world.settings.blobs_path / "originals" / str(first.blob_key)).exists()
    site.pages["/docs/"] = 404
    wait_until(lambda: not documents(world, url))
    wait_until(lambda: skipped(world, "harbour") == {url: "it cannot be read: the server answered 404"})


def test_what_was_read_is_not_read_again_after_a_restart(site: Site, make: Make) -> None:
    site.pages["/"] = "<p>text</p>"
    world = make(f"{site.url}/")
    world.start()
    wait_until(lambda: documents(world, f"{site.url}/"))
    world.stop()
    world.start()
    wait_until(lambda: site.count("/", 304))
    assert site.count("/", 200) == 1


def test_the_pages_of_a_sitemap_are_mirrored(site: Site, make: Make) -> None:
    for name in "abc":
        site.pages[f"/{name}"] = f"<p>page {name}</p>"
    site.pages["/sitemap.xml"] = site.sitemap("/one.xml", "/two.xml", kind="sitemapindex", entry="sitemap")
    site.pages["/one.xml"] = site.sitemap("/a", "/b")
    site.pages["/two.xml"] = site.sitemap("/b", "/c", "ftp://example.org/d")
    url = f"{site.url}/sitemap.xml"
    world = make(url)
    world.start()
    wait_until(lambda: set(documents(world, url)) == {f"{site.url}/{name}" for name in "abc"})
    wait_until(lambda: skipped(world))
    assert skipped(world) == {"ftp://example.org/d": "it cannot be read: it does not start with http:// or https://"}
    site.pages["/two.xml"] = site.sitemap("/b")
    wait_until(lambda: set(documents(world, url)) == {f"{site.url}/a", f"{site.url}/b"})
    site.pages["/a"] = 410
    wait_until(lambda: set(documents(world, url)) == {f"{site.url}/b"})
    assert site.count("/b", 200) == 1


def test_the_entries_of_a_feed_are_mirrored_and_additive_ones_stay(site: Site, make: Make) -> None:
    for name in "ab":
        site.pages[f"/{name}"] = f"<p>news {name}</p>"
    item = "<item><link>{}</link></item>"
    site.pages["/feed"] = FEED.format(item.format("/a") + "<item><title>no link</title></item>")
    site.pages["/kept"] = FEED.format(item.format("/a"))
    mirrored, kept = f"{site.url}/feed", f"{site.url}/kept"
    world = make(f"{mirrored}=news", f"{kept}=archive:additive")
    world.start()
    wait_until(lambda: documents(world, mirrored) and documents(world, kept))
    wait_until(lambda: skipped(world, "news") == {mirrored: "an entry of a feed or sitemap that names no page"})
    site.pages["/feed"] = site.pages["/kept"] = FEED.format(item.format("/b"))
    wait_until(lambda: set(documents(world, mirrored)) == {f"{site.url}/b"})
    wait_until(lambda: set(documents(world, kept)) == {f"{site.url}/a", f"{site.url}/b"})


def test_robots_txt_is_obeyed(site: Site, make: Make) -> None:
    site.pages["/robots.txt"] = "User-agent: *\nDisallow: /secret\n"
    site.pages["/open"] = site.pages["/secret"] = "<p>text</p>"
    site.pages["/moved"] = redirect_to("/secret")
    site.pages["/sitemap.xml"] = site.sitemap("/open", "/secret", "/moved")
    url = f"{site.url}/sitemap.xml"
    world = make(url)
    world.start()
    wait_until(lambda: set(documents(world, url)) == {f"{site.url}/open"})
    reason = f"robots.txt of {site.url.removeprefix('http://')} does not allow it"
    wait_until(lambda: skipped(world) == {f"{site.url}/secret": reason, f"{site.url}/moved": reason})
    assert not site.count("/secret", 200)


def redirect_to(target: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("location", target)
        handler.send_header("content-length", "0")
        handler.end_headers()

    return answer


def test_private_addresses_are_refused_also_behind_a_redirect(
    site: Site, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/"] = "<p>secret</p>"
    world = make(f"{site.url}/", watch_urls_allow_private=False)
    world.start()
    wait_until(lambda: "not public" in skipped(world).get(f"{site.url}/", ""))
    world.stop()
    assert not site.requests and not documents(world, f"{site.url}/")


def test_a_redirect_to_a_private_address_is_refused(site: Site, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    port = site.url.rpartition(":")[2]
    # The server's own address stands for a public one here, and another one of this machine for a private one.
    monkeypatch.setattr("watchers.web.connections.is_public", lambda address: address == "127.0.0.1")
    site.pages["/"] = redirect_to(f"http://127.0.0.2:{port}/inner")
    site.pages["/inner"] = "<p>secret</p>"
    world = make(f"{site.url}/", watch_urls_allow_private=False)
    world.start()
    wait_until(lambda: "127.0.0.2, which is not public" in skipped(world).get(f"{site.url}/", ""))
    assert not site.count("/inner", 200)


def test_redirects_are_followed_but_not_for_ever(site: Site, make: Make) -> None:
    site.pages |= {"/old": redirect_to("/new"), "/new": "<p>here</p>", "/loop": redirect_to("/loop")}
    site.pages["/sitemap.xml"] = site.sitemap("/old", "/loop")
    url = f"{site.url}/sitemap.xml"
    world = make(url)
    world.start()
    wait_until(lambda: documents(world, url))
    assert text(world, documents(world, url)[f"{site.url}/old"]) == "<p>here</p>"
    wait_until(lambda: skipped(world) == {f"{site.url}/loop": "it cannot be read: it is redirected more than 5 times"})


def test_sitemaps_that_loop_and_grow_are_bounded(site: Site, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchers.web.listing.MAX_LISTS", 4)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        number = int(handler.path.removeprefix("/"))
        page = site.sitemap(f"/{number + 1}", "/0", kind="sitemapindex", entry="sitemap").encode()
        handler.send_response(200)
        handler.send_header("content-length", str(len(page)))
        handler.end_headers()
        handler.wfile.write(page)

    site.pages |= {f"/{number}": endless for number in range(10)}
    world = make(f"{site.url}/0")
    world.start()
    wait_until(lambda: "more than 100 sitemaps are named" in skipped(world).values())
    assert "a sitemap that was read already: it is named again" in skipped(world).values()
    assert {path for path, _ in site.requests} == {f"/{number}" for number in range(4)}


def test_of_a_huge_feed_the_first_pages_are_read_and_all_are_counted(site: Site, make: Make) -> None:
    site.pages["/feed"] = FEED.format("".join(f"<item><link>/{number}</link></item>" for number in range(5000)))
    site.pages |= {"/0": "<p>zero</p>", "/1": "<p>one</p>"}
    url = f"{site.url}/feed"
    world = make(url, watch_url_pages=2)
    world.start()
    wait_until(lambda: len(documents(world, url)) == 2)
    reason = "more than 2 pages are listed (WATCH_URL_PAGES)"
    wait_until(lambda: [one.skipped for one in world.catalog.watched_folders()] == [{reason: 4998}])


def test_a_huge_answer_a_stalling_server_and_a_broken_one_are_skipped_with_the_reason(
    site: Site, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchers.web.connections.SILENCE_SECONDS", 0.5)
    monkeypatch.setattr("watchers.web.fetcher.SILENCE_SECONDS", 0.5)

    def declared(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(10 * 2**30))
        handler.end_headers()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    def stalling(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        site.ended.wait(20)

    site.pages |= {"/declared": declared, "/endless": endless, "/stalling": stalling, "/error": 500, "/good": "good"}
    site.pages["/sitemap.xml"] = site.sitemap("/declared", "/endless", "/stalling", "/error", "/good")
    url = f"{site.url}/sitemap.xml"
    world = make(url, max_upload_bytes=1_000_000)
    world.start()
    wait_until(lambda: len(skipped(world)) == 4, 20)
    too_large = "it cannot be read: it is larger than 1000000 bytes (MAX_UPLOAD_BYTES)"
    assert skipped(world) == {
        f"{site.url}/declared": too_large,
        f"{site.url}/endless": too_large,
        f"{site.url}/stalling": "it cannot be read: the server was silent for 0.5 s, or took more than 300 s",
        f"{site.url}/error": "it cannot be read: the server answered 500",
    }
    assert set(documents(world, url)) == {f"{site.url}/good"}
    [folder] = world.catalog.watched_folders()
    assert (folder.state, folder.unreadable_count) == (FolderState.WATCHED, 4)
    assert not list((world.settings.blobs_path / ".staging").iterdir())


def test_a_site_that_fails_keeps_its_documents(site: Site, make: Make) -> None:
    site.pages |= {f"/{number}": f"<p>{number}</p>" for number in range(3)}
    site.pages["/sitemap.xml"] = site.sitemap("/0", "/1", "/2")
    url = f"{site.url}/sitemap.xml"
    world = make(url)
    world.start()
    wait_until(lambda: len(documents(world, url)) == 3)
    site.pages["/sitemap.xml"] = 500
    wait_until(lambda: skipped(world) == {url: "it cannot be read: the server answered 500"})
    site.pages["/sitemap.xml"] = site.sitemap("/0")[:-20]
    wait_until(lambda: "cannot be read as a sitemap or feed" in skipped(world).get(url, ""))
    assert len(documents(world, url)) == 3


def test_the_loss_of_most_pages_waits_for_a_confirmation(site: Site, make: Make) -> None:
    paths = [f"/{number}" for number in range(6)]
    site.pages |= {path: f"<p>{path}</p>" for path in paths}
    site.pages["/sitemap.xml"] = site.sitemap(*paths)
    url = f"{site.url}/sitemap.xml"
    world = make(url)
    world.start()
    wait_until(lambda: len(documents(world, url)) == 6)
    site.pages["/sitemap.xml"] = site.sitemap("/0")
    wait_until(lambda: world.info["folders"][0]["state"] == "held")
    assert len(documents(world, url)) == 6
    world.catalog.confirm_watched_folder(url)
    wait_until(lambda: set(documents(world, url)) == {f"{site.url}/0"})
    wait_until(lambda: world.info["folders"][0]["state"] == "watched")


def test_a_page_whose_document_was_deleted_stays_ignored_until_it_changes(site: Site, make: Make) -> None:
    site.pages["/a"] = "<p>one</p>"
    url = f"{site.url}/a"
    world = make(url)
    world.start()
    wait_until(lambda: documents(world, url))
    world.catalog.delete_document(documents(world, url)[url].id)
    wait_until(lambda: "deleted over the API" in skipped(world).get(url, ""))
    assert not documents(world, url)
    site.pages["/a"] = "<p>two</p>"
    wait_until(lambda: documents(world, url))
    assert documents(world, url)[url].state is DocumentState.QUEUED


def test_another_collection_in_the_settings_takes_the_pages_over(site: Site, make: Make) -> None:
    site.pages["/a"] = "<p>one</p>"
    url = f"{site.url}/a"
    world = make(f"{url}=first")
    world.start()
    wait_until(lambda: documents(world, url))
    world.stop()
    again = make(f"{url}=second")
    again.start()
    wait_until(lambda: documents(again, url)[url].collection == "second")
    assert text(again, documents(again, url)[url]) == "<p>one</p>"
