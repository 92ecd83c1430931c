"""What robots.txt allows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

from watchers.web.fetcher import AGENT, Fetcher, FetchError

#: How long the rules of a site are kept.
_KEPT_SECONDS = 3600.0
#: More of a robots.txt is not read.
MAX_ROBOTS_BYTES = 500 * 1024
#: The longest pause between two requests that a robots.txt can ask for.
MAX_DELAY_SECONDS = 10.0


class Robots:
    """The rules of the sites that pages are fetched from. Not thread-safe."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        #: Rules and the time until which they are kept, by the site's scheme, host and port.
        self._rules: dict[str, tuple[RobotFileParser, float]] = {}

    def allows(self, url: str) -> bool:
        """Return whether a page may be fetched.

        Raises:
            FetchError: the rules cannot be read now, so the page may not be fetched.
        """
        return self._of(url).can_fetch(AGENT, url)

    def delay_seconds(self, url: str) -> float:
        """Return how long to wait before the next request to the site of a page. Raise FetchError as `allows` does."""
        try:
            return min(float(self._of(url).crawl_delay(AGENT) or 0), MAX_DELAY_SECONDS)
        except ValueError:
            return 0.0

    def _of(self, url: str) -> RobotFileParser:
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        rules, until = self._rules.get(site, (None, 0.0))
        if rules is None or time.monotonic() >= until:
            rules = self._read(site)
            self._rules[site] = (rules, time.monotonic() + _KEPT_SECONDS)
        return rules

    def _read(self, site: str) -> RobotFileParser:
        rules = RobotFileParser()
        try:
            with self._fetcher.opened(f"{site}/robots.txt") as answer:
                if answer.status == 200:
                    rules.parse(_first_lines(answer.content()))
                elif answer.status in (401, 403):
                    rules.parse(["User-agent: *", "Disallow: /"])
                elif 400 <= answer.status < 500:
                    rules.parse([])
                else:
                    raise FetchError(f"the server answered {answer.status}")
        except FetchError as error:
            raise FetchError(f"{site}/robots.txt cannot be read: {error.reason}", is_silent=error.is_silent) from error
        return rules


def _first_lines(content: Iterable[bytes]) -> list[str]:
    found = b""
    for block in content:
        found += block
        if len(found) > MAX_ROBOTS_BYTES:
            break
    return found[:MAX_ROBOTS_BYTES].decode("utf-8-sig", "replace").splitlines()
