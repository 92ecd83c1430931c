"""Fixtures: a stack that all tests of the console use, and a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.console.browsing import Person, chromium
from tests.support import Stack


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def person(request: pytest.FixtureRequest, browser: Browser, stack: Stack) -> Iterator[Person]:
    failed = request.session.testsfailed
    with Person(browser, stack.base_url) as person:
        yield person
        # The test's own failure does not come here as an exception.
        if request.session.testsfailed > failed:
            person.keep_failure()
