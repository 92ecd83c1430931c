"""Chatting in a browser: cited answers, an answer that outlives its tab, stopping, waiting for a turn."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.console.browsing import NEEDS_CHROMIUM, Person, ask, assert_fits, is_answered, keep, open_chat
from tests.e2e.console.server import busy_engine, job_state, upload
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(900), NEEDS_CHROMIUM]

FACT = "The warranty of the Zephyr kettle lasts seven years and covers the lid, the handle and the heating plate."
QUESTION = "How long does the warranty of the Zephyr kettle last?"


@pytest.fixture(scope="module", autouse=True)
def _library(stack: Stack) -> None:
    upload(stack, "kettles", {"zephyr.txt": FACT.encode()})


def choose_no_documents(page: Page) -> None:
    page.locator("#collections-menu summary").click()
    page.get_by_label("No documents: just the model").check()
    page.keyboard.press("Escape")


def lengthen_answers(person: Person, tokens: int) -> None:
    """Give the answers to this person's questions a number of tokens."""

    def add_length(route: Route) -> None:
        body = {**(route.request.post_data_json or {}), "max_tokens": tokens, "ignore_eos": True}
        route.continue_(post_data=body)

    person.context.route("**/v1/chat/completions", add_length)


def job_of(page: Page) -> str:
    """Return the id of the newest job that this browser's conversations know."""
    jobs = page.evaluate(
        """async () => {
            const [{ name }] = await indexedDB.databases();
            const database = await new Promise((done) => {
                const request = indexedDB.open(name);
                request.onsuccess = () => done(request.result);
            });
            const all = await new Promise((done) => {
                const request = database.transaction("messages").objectStore("messages").getAll();
                request.onsuccess = () => done(request.result);
            });
            database.close();
            return all.sort((a, b) => a.at - b.at).map(({ job }) => job).filter(Boolean);
        }"""
    )
    return str(jobs[-1])


def test_a_citation_opens_its_source_with_the_passage_marked(person: Person, stack: Stack) -> None:
    page = open_chat(person)
    answer = ask(page, QUESTION)
    is_answered(page)
    expect(answer.get_by_role("region", name="Sources")).to_contain_text("zephyr.txt")
    answer.locator("button.citation, button.source-link").first.click()
    source = page.get_by_role("complementary", name="Source")
    expect(source.get_by_role("heading", name="zephyr.txt")).to_be_visible()
    expect(source.locator("mark").first).to_contain_text("seven years")
    original = str(source.get_by_role("link", name="Original").get_attribute("href"))
    assert httpx.get(stack.base_url + original, timeout=60).content == FACT.encode()
    assert_fits(page)
    keep(page, "chat-cited")
    source.get_by_role("button", name="Close the source").click()
    expect(source).to_be_hidden()


def test_an_answer_is_completed_while_its_tab_is_closed(person: Person, stack: Stack) -> None:
    lengthen_answers(person, 250)
    page = open_chat(person)
    choose_no_documents(page)
    answer = ask(page, "Tell me a long story about a dragon and a lighthouse.")
    expect(answer.locator("markdown-view")).not_to_be_empty()
    job, address = job_of(page), page.url
    page.close()
    wait_until(lambda: job_state(stack, job) == "completed", 180, "the answer without its tab")
    page = person.context.new_page()
    page.goto(address)
    answer = page.get_by_role("article", name="Answer").last
    is_answered(page)
    body = httpx.get(f"{stack.base_url}/v1/jobs/{job}", timeout=60).json()
    text = body["result"]["choices"][0]["message"]["content"]
    words = text.split()
    expect(answer).to_contain_text(words[0])
    shown = answer.locator("markdown-view").inner_text().split()
    assert shown[-1].strip("*_`") == words[-1].strip("*_`")


def test_a_reopened_tab_goes_on_with_the_stream(person: Person, stack: Stack) -> None:
    with busy_engine(stack) as jobs:
        lengthen_answers(person, 60)
        page = open_chat(person)
        choose_no_documents(page)
        answer = ask(page, "Say hello.")
        expect(answer).to_contain_text("before this one")
        address = page.url
        page.close()
        page = person.context.new_page()
        page.goto(address)
        answer = page.get_by_role("article", name="Answer").last
        expect(answer).to_contain_text("before this one")
        for job in jobs:
            httpx.delete(f"{stack.base_url}/v1/jobs/{job}", timeout=60)
        is_answered(page)
        expect(answer.locator("markdown-view")).not_to_be_empty()


def test_stopping_ends_the_job_and_keeps_what_was_written(person: Person, stack: Stack) -> None:
    with busy_engine(stack):
        page = open_chat(person)
        choose_no_documents(page)
        answer = ask(page, "Tell me a long story about a ship.")
        expect(answer).to_contain_text("before this one")
        job = job_of(page)
        page.get_by_role("button", name="Stop the answer").click()
        expect(answer).to_contain_text("Stopped.")
    wait_until(lambda: job_state(stack, job) == "cancelled", what="the job's end")
    page.reload()
    expect(page.get_by_role("article", name="Answer").last).to_contain_text("Stopped.")
