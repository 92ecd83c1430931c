"""Access for everybody: axe finds nothing on any page, and the main job needs no mouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import npm
from tests.e2e.console.browsing import (
    NARROW,
    NEEDS_CHROMIUM,
    PAGES,
    WIDE,
    Person,
    ask,
    assert_fits,
    is_answered,
    keep,
    open_chat,
)
from tests.e2e.console.server import upload
from tests.support import ROOT, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(900), NEEDS_CHROMIUM]

FACT = "The museum of clocks in Harrowgate opens at ten and closes at five. It shows four hundred clocks."
QUESTION = "When does the museum of clocks in Harrowgate open?"
LOOKS = [(WIDE, False), (NARROW, True)]
LOOK_NAMES = ["wide-light", "narrow-dark"]


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of axe's script."""
    project = npm.install(ROOT / "tests" / "javascript", tmp_path_factory.mktemp("axe"))
    return project / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def paths(stack: Stack) -> dict[str, str]:
    """Return the path of each page by its name, when there is something to show on it."""
    files = {"museum.txt": FACT.encode(), "broken.pdf": b"%PDF-1.7 this is not one"}
    document = upload(stack, "museums", files)["museum.txt"]
    return {name: name for name in PAGES} | {"document": f"documents/{document['id']}"}


def violations(page: Page) -> list[str]:
    """Return what axe finds on a page: the rule, and the elements that break it."""
    found: list[dict[str, Any]] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes']][:4]}" for one in found]


@pytest.mark.parametrize(("width", "dark"), LOOKS, ids=LOOK_NAMES)
@pytest.mark.parametrize("name", [*PAGES, "document"])
def test_axe_finds_nothing_on_a_page(
    browser: Browser, stack: Stack, axe: Path, paths: dict[str, str], name: str, width: int, dark: bool
) -> None:
    with Person(browser, stack.base_url, width, dark) as person:
        person.context.add_init_script(path=axe)
        page = person.open(paths[name])
        expect(page.get_by_role("heading", level=1)).to_be_attached()
        page.wait_for_load_state("load")
        shown = {"documents": "museum.txt", "document": "museum of clocks", "models": "SmolLM2"}
        expect(page.get_by_role("main")).to_contain_text(shown.get(name, ""))
        assert_fits(page)
        keep(page, f"{name}-{width}-{'dark' if dark else 'light'}")
        assert violations(page) == []


@pytest.mark.parametrize(("width", "dark"), [*LOOKS, (WIDE, True), (NARROW, False)])
def test_axe_finds_nothing_in_a_cited_answer(
    browser: Browser, stack: Stack, axe: Path, paths: dict[str, str], width: int, dark: bool
) -> None:
    with Person(browser, stack.base_url, width, dark) as person:
        person.context.add_init_script(path=axe)
        page = open_chat(person)
        answer = ask(page, QUESTION)
        expect(answer.get_by_role("region", name="Sources")).to_contain_text("museum.txt")
        is_answered(page)
        assert violations(page) == []
        answer.locator("button[data-source]").first.click()
        expect(page.locator("mark").first).to_contain_text("ten")
        assert_fits(page)
        keep(page, f"chat-source-{width}-{'dark' if dark else 'light'}")
        assert violations(page) == []


def test_the_keyboard_alone_asks_and_reads_a_source(person: Person, paths: dict[str, str]) -> None:
    page = open_chat(person)
    tab_to(page, "#question")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Sources")).to_contain_text("museum.txt")
    is_answered(page)
    tab_to(page, "button[data-source]", backwards=True)
    page.keyboard.press("Enter")
    expect(page.locator("mark").first).to_contain_text("ten")
    assert page.evaluate("document.activeElement.closest('[aria-label=\"Source\"]') !== null"), "the focus is in it"
    page.keyboard.press("Escape")
    expect(page.locator("mark")).to_have_count(0)
    assert page.evaluate("document.activeElement.matches('button[data-source]')"), "the focus is back"
    tab_to(page, "#question")


#: The outlines and shadows of the element that has the focus, and of the form around it.
FOCUS_STYLES = """() => [document.activeElement, document.activeElement.closest("form")].flatMap((one) => {
    const { outlineStyle, boxShadow } = getComputedStyle(one ?? document.activeElement);
    return [outlineStyle, boxShadow];
})"""


def tab_to(page: Page, selector: str, backwards: bool = False) -> None:
    """Press Tab until an element has the focus, which must be visible."""
    for _ in range(120):
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            shown = page.evaluate(FOCUS_STYLES)
            assert set(shown) != {"none"}, f"the focus on {selector} cannot be seen"
            return
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
    raise AssertionError(f"Tab never reaches {selector}")
