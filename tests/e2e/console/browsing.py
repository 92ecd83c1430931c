"""A real Chromium for tests of the console: Debian's, driven by Playwright."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from tests.support import ROOT

CHROMIUM = shutil.which("chromium")
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
#: Root has no sandbox, and nothing but the tests' own pages may be asked for.
_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
#: How long a fact may take to show, since a busy machine of two cores can hold any process up for a while.
DEADLINE_MS = 90_000
NARROW, WIDE = 360, 1440
#: Where screenshots are kept. Git ignores it.
SHOTS = ROOT / "build" / "console"
PAGES = ("chat", "documents", "search", "queue", "models", "connect")

expect.set_options(timeout=DEADLINE_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """One person's browser: cookies and storage of its own, and a note of all that no page of the console may do.

    As a context manager, it asserts on exit that there was nothing of that kind: no error in a script, no breach of the
    Content-Security-Policy, no request to anywhere else, no dialog, and no answer of 5xx.
    """

    def __init__(self, browser: Browser, base_url: str, width: int = WIDE, dark: bool = False) -> None:
        self.base_url = base_url
        self.problems: list[str] = []
        self.context: BrowserContext = browser.new_context(
            base_url=base_url,
            viewport={"width": width, "height": 900 if width > 600 else 780},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        self.context.set_default_timeout(DEADLINE_MS)
        self.context.on("console", self._heard)
        self.context.on("weberror", lambda error: self.problems.append(f"a script failed: {error.error}"))
        self.context.on("request", self._asked)
        self.context.on("response", self._answered)
        self.context.on("page", lambda page: page.on("dialog", self._dialog))

    def __enter__(self) -> Person:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.keep_failure()
        self.context.close()
        if error is None:
            assert not self.problems, self.problems

    def open(self, path: str) -> Page:
        """Open a page of the console in a new tab, such as `chat`, and return it."""
        page = self.context.new_page()
        page.goto(f"/console/{path}")
        return page

    def keep_failure(self) -> None:
        """Keep screenshots of the open pages, named after the test."""
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition("::")[2].partition(" ")[0]
        for number, page in enumerate(self.context.pages):
            keep(page, f"failed-{re.sub(r'[^a-zA-Z0-9]+', '-', test)}-{number}")

    def _heard(self, message: ConsoleMessage) -> None:
        # What the server refuses is noted by `_answered`.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(f"{message.location.get('url')}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.base_url + "/", "data:", f"blob:{self.base_url}/")):
            self.problems.append(f"a request left the origin: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500 and response.status != 503:
            self.problems.append(f"{response.status} from {response.url}")

    def _dialog(self, dialog: Any) -> None:
        self.problems.append(f"a dialog of the browser: {dialog.message}")
        dialog.dismiss()


def open_chat(person: Person) -> Page:
    """Open the chat page, and return it when its scripts have started: then it lists the conversations."""
    page = person.open("chat")
    expect(page.locator("#conversations > *")).not_to_have_count(0)
    return page


def ask(page: Page, question: str) -> Locator:
    """Ask a question on the chat page, and return the answer, which has begun to wait or to be written."""
    answers = page.get_by_role("article", name="Answer")
    before = answers.count()
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    expect(answers).to_have_count(before + 1)
    return answers.last


def is_answered(page: Page) -> None:
    """Wait until nothing is being answered."""
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


def drop(page: Page, *paths: Path) -> None:
    """Drop files and folders onto the middle of a page, as dragging them from the desktop does."""
    width, height = page.evaluate("[window.innerWidth, window.innerHeight]")
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": width / 2, "y": height / 2, "data": data}
        session.send("Input.dispatchDragEvent", event)
    session.detach()


def keep(page: Page, name: str) -> Path:
    """Keep a screenshot of a page, and return its path."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    path = SHOTS / f"{name}.png"
    page.screenshot(path=path, animations="disabled")
    return path


def assert_fits(page: Page) -> None:
    """Check that a page is no wider than its window."""
    width, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= window, f"{page.url} is {width} pixels wide in a window of {window}: {_widest(page)}"


def _widest(page: Page) -> str:
    script = """() => [...document.querySelectorAll("body *")]
        .filter((one) => one.getBoundingClientRect().right > window.innerWidth + 1)
        .slice(0, 3).map((one) => one.outerHTML.slice(0, 150)).join("  |  ")"""
    return str(page.evaluate(script))
