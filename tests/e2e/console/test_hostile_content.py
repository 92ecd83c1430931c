"""Names and texts full of markup, scripts, direction marks and endless words are shown as text, and change no page."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Error, Page, Route, expect

from tests.e2e.console.browsing import NARROW, NEEDS_CHROMIUM, PAGES, WIDE, Person, assert_fits, keep, open_chat
from tests.e2e.console.server import upload
from tests.support import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(900), NEEDS_CHROMIUM]

SCRIPT = "<script>alert(1)</script>"
MARKUP = (
    f"\"'><img src=https://elsewhere.example/x.png onerror=alert(2)>{SCRIPT}<svg/onload=alert(3)>"
    "<style>*{display:none}</style><iframe src=https://elsewhere.example></iframe>{{7*7}}&lt;b&gt;"
)
#: Turns round all that follows it in its paragraph.
TURN = "\u202e"
ENDLESS = "W" * 10_000
HOSTILE = f"{MARKUP}{ENDLESS}{TURN}"
#: Fields whose values are a choice of few, an address or a time, so that a page may rely on them.
FIXED = {
    "object", "id", "status", "state", "stage", "activity", "kind", "type", "role", "mode", "source", "created_at",
    "scopes", "document_id", "doing", "first_id", "last_id", "media_type", "html", "at", "last_seen",
}  # fmt: skip
QUESTION = "What is the colour of the hostile parrot?"


@pytest.fixture(scope="module")
def document(stack: Stack) -> dict[str, Any]:
    text = f"# {MARKUP}\n\nThe colour of the hostile parrot is green. {MARKUP}\n\n{ENDLESS}\n\n[x](javascript:alert(4))"
    name = f"parrot <img src=x onerror=alert(5)> {'W' * 150}.md"
    return next(iter(upload(stack, "hostile", {name: text.encode()}).values()))


def poisoned(value: Any, key: str = "") -> Any:
    """Return a JSON value with hostile text after every string that is not one of few."""
    match value:
        case str():
            return value if key in FIXED or value in ("", "default") else value + HOSTILE
        case dict():
            return {name: item if name == "stages" else poisoned(item, name) for name, item in value.items()}
        case list():
            return [poisoned(item, key) for item in value[:5]]
        case _:
            return value


def poison(route: Route) -> None:
    if "/v1/events" in route.request.url:
        route.continue_()
        return
    try:
        response = route.fetch()
        if response.headers.get("content-type", "").startswith("application/json"):
            route.fulfill(response=response, json=poisoned(response.json()))
        else:
            route.fulfill(response=response)
    except Error as error:
        # The page has given the request up, or is closed.
        assert "disposed" in str(error) or "closed" in str(error), error


def assert_harmless(page: Page) -> None:
    """Check that hostile text has made no element, has widened nothing and turns round nothing but itself."""
    made = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter((one) =>
            ["IMG", "IFRAME", "STYLE", "OBJECT", "EMBED", "BASE", "META"].includes(one.tagName) && !one.closest("head")
            || (one.tagName === "SCRIPT" && !one.src)
            || [...one.attributes].some(
                ({ name, value }) => name.startsWith("on") || /^\\s*(javascript|data|vbscript):/i.test(value))
        ).map((one) => one.outerHTML.slice(0, 200))"""
    )
    assert made == []
    assert page.evaluate(TURNED) == []
    assert_fits(page)


#: The texts that stand after a mark of direction in the same paragraph. An answer, or a program to copy, is one text.
TURNED = """() => {
    const inline = (element) => {
        const { display, unicodeBidi } = getComputedStyle(element);
        return (display === "inline" || display === "contents") && unicodeBidi === "normal";
    };
    const found = [];
    const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) texts.push(walker.currentNode);
    texts.forEach((text, position) => {
        if (!text.data.includes("\\u202e")) return;
        if (text.parentElement.closest("option, textarea, markdown-view, pre")) return;
        const paragraph = (node) => {
            let element = node.parentElement;
            while (inline(element)) element = element.parentElement;
            return element;
        };
        const after = text.data.slice(text.data.lastIndexOf("\\u202e") + 1).trim();
        const next = texts.slice(position + 1).find((other) => other.data.trim() !== "");
        const turned = after || (next && paragraph(next) === paragraph(text) ? next.data.trim() : "");
        if (/[\\p{L}\\p{N}]/u.test(turned) && paragraph(text).checkVisibility()) {
            found.push(`${turned.slice(0, 60)} in ${paragraph(text).outerHTML.slice(0, 120)}`);
        }
    });
    return found;
}"""


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", [*PAGES, "document"])
def test_whatever_the_server_says_is_shown_as_text(
    browser: Browser, stack: Stack, document: dict[str, Any], name: str, width: int
) -> None:
    with Person(browser, stack.base_url, width) as person:
        person.context.route("**/v1/**", poison)
        path = {"document": f"documents/{document['id']}", "documents": "documents?collection=hostile"}.get(name, name)
        page = person.open(path)
        page.wait_for_load_state("load")
        if name == "search":
            page.get_by_role("searchbox").first.fill(QUESTION)
            page.keyboard.press("Enter")
            expect(page.get_by_role("main")).to_contain_text("parrot is green")
        expect(page.get_by_role("main")).to_contain_text(SCRIPT)
        keep(page, f"hostile-{name}-{width}")
        assert_harmless(page)


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_a_hostile_answer_is_shown_as_text(
    browser: Browser, stack: Stack, document: dict[str, Any], width: int
) -> None:
    with Person(browser, stack.base_url, width) as person:
        page = open_chat(person)
        page.evaluate(STORE, conversation(document))
        page.goto("/console/chat#c1")
        page.reload()
        answer = page.get_by_role("article", name="Answer")
        expect(answer).to_contain_text("The end.")
        expect(answer.locator("markdown-view table")).to_be_attached()
        links = answer.locator("markdown-view a").evaluate_all("(all) => all.map((one) => [one.protocol, one.rel])")
        assert {protocol for protocol, _ in links} <= {"http:", "https:", "mailto:"} and links
        assert all("noopener" in rel and "noreferrer" in rel for _, rel in links)
        for fold in answer.locator("details > summary").all():
            fold.click()
        expect(answer).to_contain_text(SCRIPT)
        keep(page, f"hostile-answer-{width}")
        assert_harmless(page)
        answer.locator("button[data-source]").first.click()
        expect(page.locator("mark").first).to_be_attached()
        keep(page, f"hostile-source-{width}")
        assert_harmless(page)


#: What a model could write, as Markdown.
ANSWER = f"""# {MARKUP}

{MARKUP} [1] [{MARKUP}](https://elsewhere.example "{MARKUP}") [js](javascript:alert(6)) [data](data:text/html,x)
[vb](vbscript:x) ![picture](https://elsewhere.example/pixel.png) <https://elsewhere.example/auto>
[e]( \x01javascript:alert(7))

| {ENDLESS} | {SCRIPT} |
| --- | --- |
| {MARKUP.replace("|", "")} | {ENDLESS} |

```"><script>alert(8)</script>
{MARKUP}{ENDLESS}
```

> {TURN}{SCRIPT}

{ENDLESS}

The end."""


def conversation(document: dict[str, Any]) -> dict[str, Any]:
    """Return a conversation as a browser stores it, hostile in every field."""
    source = {
        "index": 1, "document_id": document["id"], "file": HOSTILE, "collection": HOSTILE, "chunk_index": 0,
        "page": 1, "last_page": 2, "section": HOSTILE, "start": 0, "end": 10, "text": HOSTILE,
        "highlights": [{"text": MARKUP[:20], "start": 0, "end": 20}],
    }  # fmt: skip
    call = {"id": "c", "name": HOSTILE, "arguments": json.dumps({MARKUP: HOSTILE}), "result": HOSTILE, "error": None}
    common = {
        "conversation": "c1", "at": 1, "job": "", "event": 0, "model": HOSTILE, "reasoning": HOSTILE, "searched": True,
        "calls": [call | {"done": True}, call | {"done": True, "error": HOSTILE}], "sources": [source], "tokens": 5,
        "grounded": False, "missing": {"question": [HOSTILE], "answer": [HOSTILE]}, "finish": "stop", "waiting": None,
        "seconds": 1, "error": HOSTILE,
    }  # fmt: skip
    return {
        "conversations": [
            {
                "id": "c1", "title": HOSTILE, "created": 1, "updated": 1, "model": HOSTILE, "collections": [HOSTILE],
                "files": "", "system": HOSTILE, "temperature": None, "tools": False, "leaf": "m2",
            }
        ],
        "messages": [
            common | {"id": "m1", "parent": "", "role": "user", "text": HOSTILE, "state": "done"},
            common | {"id": "m2", "parent": "m1", "role": "assistant", "text": ANSWER, "state": "completed"},
        ],
    }  # fmt: skip


STORE = """async (stores) => {
    const [{ name }] = await indexedDB.databases();
    const database = await new Promise((done) => {
        const request = indexedDB.open(name);
        request.onsuccess = () => done(request.result);
    });
    const transaction = database.transaction(Object.keys(stores), "readwrite");
    for (const [store, records] of Object.entries(stores)) {
        for (const record of records) transaction.objectStore(store).put(record);
    }
    await new Promise((done) => (transaction.oncomplete = done));
    database.close();
}"""


def test_markup_in_names_is_kept_by_the_api_as_it_is(stack: Stack, document: dict[str, Any]) -> None:
    found = httpx.get(f"{stack.base_url}/v1/rag/documents/{document['id']}", timeout=60).json()
    assert found["filename"].startswith("parrot <img src=x onerror=alert(5)>")
