"""The entries of WATCH_URLS, and the names of pages."""

from __future__ import annotations

import pytest

from core.errors import ConfigurationError
from core.settings import load_settings
from core.watch_roots import WatchMode
from core.watch_urls import WatchUrl, watch_url_of
from watchers.web.names import attributes_of, filename_of

SITE = "https://example.org"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (SITE, WatchUrl(SITE, "default")),
        (f"{SITE}/a#b=c", WatchUrl(f"{SITE}/a#b", "c")),
        (f"{SITE}/a=papers", WatchUrl(f"{SITE}/a", "papers")),
        (f"{SITE}:8443/a=papers:additive", WatchUrl(f"{SITE}:8443/a", "papers", WatchMode.ADDITIVE)),
        (f"{SITE}/a?id=5", WatchUrl(f"{SITE}/a?id=5", "default")),
        (f"{SITE}/a?id=5=papers", WatchUrl(f"{SITE}/a?id=5", "papers")),
        (f"{SITE}/a?id=5&q=1=papers:mirror", WatchUrl(f"{SITE}/a?id=5&q=1", "papers")),
        (f"{SITE}/a?id=5&q=1", WatchUrl(f"{SITE}/a?id=5&q=1", "default")),
    ],
)
def test_an_entry_names_a_url_a_collection_and_a_mode(entry: str, expected: WatchUrl) -> None:
    found = watch_url_of(entry)
    assert (found.url.partition("#")[0], found.collection, found.mode) == (
        expected.url.partition("#")[0],
        expected.collection,
        expected.mode,
    )
    assert "#" not in found.url


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ftp://example.org/a", "must be a URL that starts with http:// or https://"),
        ("example.org=papers", "must be a URL"),
        ("https://", "must be a URL"),
        ("https://example.org:port/", "must be a URL"),
        ("https://me:secret@example.org/", "a URL with a user's name or password is refused"),
        (f"{SITE}/a=", "the collection's name is empty"),
        (f"{SITE}/a=b:consume", "it is mirror or additive"),
        (f"{SITE}/a,{SITE}/a=b", "names a URL twice"),
    ],
)
def test_a_wrong_entry_is_refused_without_its_password(value: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(_env_file=None, watch_urls=value)
    assert message in refused.value.message and "WATCH_URLS" in refused.value.message
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    ("path", "media_type", "expected"),
    [
        ("/", "text/html", "example.org.html"),
        ("/docs/", "text/html", "docs.html"),
        ("/docs/a.html", "text/html", "a.html"),
        ("/docs/a.php?x=1", "text/html", "a.php.html"),
        ("/a.md", "text/plain", "a.md"),
        ("/files/report", "application/pdf", "report.pdf"),
        ("/files/report.pdf", "application/octet-stream", "report.pdf"),
        ("/%C3%A4%2Fb%00", "text/html", "ä_b_.html"),
        ("/" + "x" * 500, "", "x" * 150),
    ],
)
def test_a_page_has_the_name_of_a_file_of_its_type(path: str, media_type: str, expected: str) -> None:
    assert filename_of(SITE + path, media_type) == expected


def test_a_page_can_be_found_by_its_url_site_and_folders() -> None:
    assert attributes_of(f"{SITE}/a/b/c?d=1") == {
        "url": f"{SITE}/a/b/c?d=1",
        "site": "example.org",
        "folder": "a/b",
        "folder_1": "a",
        "folder_2": "a/b",
    }
