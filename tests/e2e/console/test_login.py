"""The first run of a server with a key; logging in, the cookie that scripts cannot read, and logging out."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.console.browsing import NEEDS_CHROMIUM, Person, is_answered, keep
from tests.support import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(900), NEEDS_CHROMIUM]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    """Yield a stack that asks for a key, and a key."""
    with Stack(tmp_path_factory.mktemp("locked")) as stack:
        yield stack, stack.run("keys", "create", "ada").stdout.splitlines()[-1]


def log_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()


def test_the_first_run_leads_from_a_key_to_a_cited_answer(browser: Browser, locked: tuple[Stack, str]) -> None:
    stack, key = locked
    with Person(browser, stack.base_url) as person:
        page = person.open("chat")
        log_in(page, key)
        sample = page.get_by_role("button", name="Add a sample document")
        expect(sample).to_be_visible()
        keep(page, "first-run")
        sample.click()
        questions = page.get_by_role("group", name="Questions that the sample answers").get_by_role("button")
        expect(questions).to_have_count(3)
        question = questions.first.inner_text()
        questions.first.click()
        expect(page.get_by_role("article", name="Question")).to_contain_text(question)
        answer = page.get_by_role("article", name="Answer")
        expect(answer.get_by_role("region", name="Sources")).to_contain_text("ardena")
        is_answered(page)
        answer.locator("button[data-source]").first.click()
        expect(page.locator("mark").first).to_be_visible()
        # The picture at the beginning of README.md.
        keep(page, "first-run-answered")


def test_a_wrong_key_is_refused_and_a_right_one_opens_every_page(browser: Browser, locked: tuple[Stack, str]) -> None:
    stack, key = locked
    with Person(browser, stack.base_url) as person:
        page = person.open("chat")
        dialog = page.get_by_role("dialog", name="Log in")
        expect(dialog).to_be_visible()
        log_in(page, "sk-not-a-key")
        expect(dialog.get_by_role("alert")).not_to_be_empty()
        log_in(page, key)
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        page.goto("/console/documents")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(dialog).to_be_hidden()


def test_the_cookie_is_of_this_site_alone_and_hidden_from_scripts(browser: Browser, locked: tuple[Stack, str]) -> None:
    stack, key = locked
    with Person(browser, stack.base_url) as person:
        page = person.open("chat")
        log_in(page, key)
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        (cookie,) = person.context.cookies()
        assert cookie.get("httpOnly") is True and cookie.get("sameSite") == "Strict"
        assert key not in str(cookie.get("value"))
        assert page.evaluate("document.cookie") == ""
        stored = page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }])")
        assert key not in stored
        cookies = {str(cookie.get("name")): str(cookie.get("value"))}
        with httpx.Client(base_url=stack.base_url, cookies=cookies, timeout=60) as other:
            foreign = {"origin": "https://elsewhere.example", "sec-fetch-site": "cross-site"}
            assert other.post("/v1/rag/collections", json={"name": "stolen"}, headers=foreign).status_code in (401, 403)
            assert other.get("/v1/models", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_logging_out_drops_the_cookie_on_the_server_too(browser: Browser, locked: tuple[Stack, str]) -> None:
    stack, key = locked
    with Person(browser, stack.base_url) as person:
        page = person.open("chat")
        log_in(page, key)
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        (cookie,) = person.context.cookies()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("dialog", name="Log in")).to_be_visible()
        assert person.context.cookies() == []
        cookies = {str(cookie.get("name")): str(cookie.get("value"))}
        with httpx.Client(base_url=stack.base_url, cookies=cookies, timeout=60) as other:
            assert other.get("/v1/models", headers={"sec-fetch-site": "same-origin"}).status_code == 401
