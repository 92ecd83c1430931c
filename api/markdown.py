"""Markdown of models and documents as HTML that a page can insert: nothing in a text becomes markup of its own.

Raw HTML is text. Links lead to web pages and mail addresses only, images are links, and there is no style. References
to definitions elsewhere in the text (`[name]: URL`) are not resolved. So no later text changes an earlier block, and a
page can have each block rendered as soon as it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

#: Deeper quotes and lists are left out by the parser.
MAX_NESTING = 100
_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n?|\n")
#: `[1]`, and `[1, 2]`, as answers from documents cite their sources.
_CITATION = re.compile(r"\[\s*(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\s*\]")
_NUMBER = re.compile(r"\d+")
_BUTTON = '<button type="button" class="citation" data-source="{number}" aria-label="Source {number}">{number}</button>'
#: The page that a link leads to learns nothing of this one, and cannot change it.
_OUTWARD = {"target": "_blank", "rel": "noopener noreferrer nofollow"}
_ALIGNMENT = re.compile(r"text-align:(left|center|right)")
#: Blocks that end with their own last line, and those that a blank line ends.
_COMPLETE_ALONE = frozenset({"heading_open", "hr"})
_ENDED_BY_BLANK = frozenset({"paragraph_open", "table_open", "blockquote_open"})


@dataclass(frozen=True)
class Block:
    """A block at the top level of a text: its HTML, and the position after its last line."""

    html: str
    end: int


def render_blocks(text: str, *, complete: bool) -> list[Block]:
    """Return the blocks of a text, or of the beginning of one: then only those that no further text can change."""
    ends = [found.end() for found in _LINE_END.finditer(text)]
    known = len(text) if complete else (ends[-1] if ends else 0)
    if complete and (not ends or ends[-1] < len(text)):
        ends.append(len(text))
    parser = _parser()
    blocks: list[Block] = []
    groups = list(_top_level(parser.parse(text[:known])))
    for number, tokens in enumerate(groups, 1):
        first, after = tokens[0].map or (0, 0)
        lines = text[ends[first - 1] if first else 0 : ends[after - 1]]
        if number == len(groups) and not complete and not _is_ended(tokens[0], lines, has_blank=len(ends) > after):
            break
        blocks.append(Block(parser.renderer.render(tokens, parser.options, {}), ends[after - 1]))
    return blocks


def utf16_length(text: str) -> int:
    """Return the length of a text in UTF-16 code units, in which JavaScript counts."""
    return len(text) + sum(char > "\uffff" for char in text)


def _is_ended(token: Token, lines: str, *, has_blank: bool) -> bool:
    """Return whether no further line can belong to a block. Of a fence, look for the line that closes it."""
    if token.type == "fence":
        before, _, last = lines.rstrip().rpartition("\n")
        mark = last.lstrip(" ")
        # The first line opens it, even if only empty lines follow, and a line that is indented by four is code.
        is_closing = len(mark) >= len(token.markup) and not mark.strip(token.markup[0])
        return before != "" and len(last) - len(mark) < 4 and is_closing
    # A heading that is underlined ends with its line too.
    return token.type in _COMPLETE_ALONE or (has_blank and token.type in _ENDED_BY_BLANK)


def _top_level(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the tokens of each block."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING})
    parser.enable(["table", "strikethrough"]).disable("reference")
    parser.validateLink = lambda url: _LINK.match(url) is not None  # type: ignore[method-assign]
    # Before texts are joined: there an escaped bracket is a text of its own.
    parser.core.ruler.after("inline", "rewrite", _rewrite)
    return parser


def _rewrite(state: StateCore) -> None:
    """Make links leave the page alone, images links, alignments classes, and citations buttons."""
    for token in state.tokens:
        if token.type == "inline" and token.children:
            token.children = list(_rewritten(token.children))
        elif aligned := _ALIGNMENT.fullmatch(str(token.attrs.pop("style", ""))):
            token.attrs["class"] = f"align-{aligned[1]}"


def _rewritten(tokens: Sequence[Token]) -> Iterator[Token]:
    links = 0
    for token in tokens:
        links += {"link_open": 1, "link_close": -1}.get(token.type, 0)
        if token.type == "link_open":
            # `[text]()` is no link: the parser does not ask whether an empty address is allowed.
            href = token.attrs.get("href", "")
            token.attrs = {"href": href, **_OUTWARD} if href else {}
        if token.type == "image":
            yield from _link_to_image(token, is_in_link=links > 0)
        elif token.type == "text" and not links:
            yield from _split(token)
        else:
            yield token


def _link_to_image(token: Token, *, is_in_link: bool) -> Iterator[Token]:
    source = str(token.attrs.get("src", ""))
    described = _text_of(token.children or []) or source
    text = Token("text", "", 0, content=described, level=token.level)
    if is_in_link:
        yield text
        return
    yield Token("link_open", "a", 1, attrs={"class": "image", "href": source, **_OUTWARD}, level=token.level)
    yield text
    yield Token("link_close", "a", -1, level=token.level)


def _text_of(tokens: Sequence[Token]) -> str:
    return "".join(_text_of(token.children) if token.children else token.content for token in tokens)


def _split(token: Token) -> Iterator[Token]:
    """Yield a text with its citations as HTML of this program's own."""
    start = 0
    for found in _CITATION.finditer(token.content):
        if found.start() > start:
            yield Token("text", "", 0, content=token.content[start : found.start()], level=token.level)
        for number in map(int, _NUMBER.findall(found[1])):
            yield Token("html_inline", "", 0, content=_BUTTON.format(number=number), level=token.level)
        start = found.end()
    if start < len(token.content):
        yield Token("text", "", 0, content=token.content[start:], level=token.level)
