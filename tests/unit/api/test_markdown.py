"""Markdown becomes HTML in which nothing of the text is markup, and blocks that are rendered stay as they are."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx
import pytest

from api.markdown import render_blocks
from tests.support import assert_linear

ANSWER = """# Warranty of 🙂

It is *24 months* [1], or **36** [2, 3]:

- a
- b

  more of b

> quoted
> twice

```python
print("[1]") # **not** marked
```
| a | b |
|:--|--:|
| 1 | 2 |

1. one
2. two

    code

Underlined
==========
***bold italic***
ends here"""


def html_of(text: str, *, complete: bool = True) -> str:
    return "".join(block.html for block in render_blocks(text, complete=complete))


def test_the_usual_marks_are_rendered() -> None:
    html = html_of(ANSWER)
    for part in (
        "<h1>Warranty of 🙂</h1>",
        "<em>24 months</em>",
        "<strong>36</strong>",
        "<p>b</p>",
        "<blockquote>",
        '<pre><code class="language-python">print(&quot;[1]&quot;) # **not** marked',
        '<th class="align-left">a</th>',
        '<td class="align-right">2</td>',
        "<ol>",
        "<h1>Underlined</h1>",
        "<em><strong>bold italic</strong></em>",
    ):
        assert part in html


def test_citations_are_buttons_except_in_code_and_links_and_where_they_are_escaped() -> None:
    assert re.findall(r'data-source="(\d+)" aria-label="Source \1">\1</button>', html_of(ANSWER)) == ["1", "2", "3"]
    for text in (r"\[1]", "`[1]`", "[[1]](http://a)", "[1](http://a)", "[a1]", "[]", "[1234]"):
        assert "button" not in html_of(text), text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a <b onclick='x'>b</b>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](\x01javascript:alert(1))",
    "[a](data:text/html,x)",
    "[a](vbscript:x)",
    "[a](/v1/keys)",
    "[a](//evil.example)",
    "![a](data:image/png;base64,AAAA)",
    "![a](x.png)",
    '![a"><script>](http://a/"onerror=x)',
    '[a](http://a "t\\" onmouseover=x")',
    "<javascript:alert(1)>",
    '```"><script>\nx\n```',
    "| <script> | b |\n|-|-|\n| <i> | x |",
    "[a]: javascript:x\n\n[a]",
    "[<img src=x>](http://a)",
    "http://a/<script>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_text_becomes_markup(text: str) -> None:
    tags = _Tags()
    tags.feed(html_of(text))
    for tag, attributes in tags.found:
        assert tag in {"p", "a", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}, (tag, text)
        assert set(attributes) <= {"href", "target", "rel", "class"}, (attributes, text)
        if tag == "a":
            assert re.match("https?://", attributes["href"] or "") and attributes["target"] == "_blank"
            assert attributes["rel"] == "noopener noreferrer nofollow"


def test_an_empty_address_makes_no_link() -> None:
    (block,) = render_blocks("[text]()", complete=True)
    assert block.html == "<p><a>text</a></p>\n"


def test_images_are_links_and_mail_addresses_too() -> None:
    assert '<a class="image" href="https://a.example/b.png"' in html_of("![a *b*](https://a.example/b.png)")
    assert ">a b</a>" in html_of("![a *b*](https://a.example/b.png)")
    assert 'href="mailto:a@b.example"' in html_of("<a@b.example>")


def test_a_block_is_rendered_once_no_further_text_can_change_it() -> None:
    whole = render_blocks(ANSWER, complete=True)
    seen = 0
    for length in range(len(ANSWER) + 1):
        so_far = render_blocks(ANSWER[:length], complete=False)
        assert so_far == whole[: len(so_far)], ANSWER[:length]
        assert len(so_far) >= seen, "what was rendered stays"
        seen = len(so_far)
    assert seen == len(whole) - 1, "only the last block is not rendered before the text is complete"


def test_the_rest_can_be_rendered_by_itself() -> None:
    whole, html, rest = html_of(ANSWER), "", ANSWER
    for length in range(0, len(ANSWER), 7):
        rest = ANSWER[len(ANSWER) - len(rest) : length]
        blocks = render_blocks(rest, complete=False)
        html += "".join(block.html for block in blocks)
        rest = ANSWER[length - len(rest) + (blocks[-1].end if blocks else 0) :]
    assert html + html_of(rest) == whole


@pytest.mark.parametrize("text", ["", "\n", " \n\n", "a", "a\n", "a\r\n\r\nb", "a\rb", "\n\na", "```\nopen", "a\n\n\n"])
def test_all_of_a_complete_text_is_rendered(text: str) -> None:
    blocks = render_blocks(text, complete=True)
    assert bool(blocks) == bool(text.strip())
    assert not blocks or text[blocks[-1].end :].strip() == ""


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a", 0), ("a\n", 0), ("a\n\n", 1), ("# a", 0), ("# a\n", 1), ("---\n", 1), ("- a\n\n", 0), ("- a\n\nb\n", 1),
        ("```\na\n", 0), ("```\na\n```\n", 1), ("```\n", 0), ("~~~\n```\n", 0), ("a\n#", 0), ("a\n***", 0),
        ("> a\n", 0), ("> a\n\n", 1), ("    a\n\n", 0), ("a|b\n-|-\n1|2\n", 0), ("a|b\n-|-\n1|2\n\n", 1), ("", 0),
        ("```\n\n", 0), ("```\na\n\t```\n", 0), ("```\na\n    ```\n", 0), ("```\na\n   ```  \n", 1),
        ("```\n\n```\n", 1),
    ],
)  # fmt: skip
def test_which_blocks_are_complete(text: str, count: int) -> None:
    assert len(render_blocks(text, complete=False)) == count


@pytest.mark.parametrize(
    "unit", ["[", "[1] ", "![", "*a ", "_a_", "`", "<a", "> ", "- a\n", "a|b\n|-|-|\n", "[a](", "a\n\n"]
)
def test_it_takes_time_in_proportion_to_the_text(unit: str) -> None:
    assert_linear(lambda text: render_blocks(text, complete=True), unit, 300, unit)


@pytest.mark.asyncio
async def test_the_route_counts_in_characters_and_as_javascript_does(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/markdown", json={"text": "🙂\n\nunfinished"})
    assert answer.json() == {
        "object": "markdown",
        "blocks": [{"html": "<p>🙂</p>\n", "end": 2, "end_utf16": 3}],
        "end": 2,
        "end_utf16": 3,
    }
    whole = (await http.post("/v1/markdown", json={"text": "🙂\n\n🙂\n", "complete": True})).json()
    assert (whole["end"], whole["end_utf16"]) == (5, 7)
    too_long = await http.post("/v1/markdown", json={"text": "a" * (2**17 + 1)})
    assert too_long.status_code in (400, 413)
