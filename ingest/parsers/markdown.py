"""Markdown: its blocks, found by markdown-it. The document's text is the file's text, including the markup.

Comments and hidden elements are left out, and what HTML tags strike out or raise is marked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ingest.parsed_document import ElementKind, ParsedDocument, SpanBuilder
from ingest.parsers.markdown_prose import needs_change, shown_prose
from ingest.parsers.source import SourceFile

_FRONT_MATTER = re.compile(r"---[ \t]*\n(?=[\w-]+:)(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
#: Links and images, with their text.
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
#: Marks of emphasis and code, but not underscores inside a name.
_INLINE_MARK = re.compile(r"\*+|~~|`+|(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)")
_KINDS = {
    "heading_open": ElementKind.HEADING,
    "paragraph_open": ElementKind.PARAGRAPH,
    "table_open": ElementKind.TABLE,
    "fence": ElementKind.CODE,
    "code_block": ElementKind.CODE,
    "html_block": ElementKind.PARAGRAPH,
}
_CODE = ("fence", "code_block")


@lru_cache(maxsize=1)
def _reader() -> MarkdownIt:
    # Only blocks are needed; inline markup stays as it is written.
    return MarkdownIt("commonmark").enable("table").disable(["inline", "text_join"])


def parse(source: SourceFile) -> ParsedDocument:
    """Mark headings, paragraphs, list items, tables and code."""
    text = source.read_text()
    tokens = _blocks(text)
    if needs_change(text):
        text = _shown(text, tokens)
        tokens = _blocks(text)
    starts = _line_starts(text)
    builder = SpanBuilder(text)
    front_end = _front_matter_end(text)
    builder.add(ElementKind.CODE, 0, front_end)
    items = 0
    for position, token in enumerate(tokens):
        items += (token.type == "list_item_open") - (token.type == "list_item_close")
        kind = _KINDS.get(token.type)
        if kind is None or token.map is None:
            continue
        if kind is ElementKind.PARAGRAPH and items:
            kind = ElementKind.LIST_ITEM
        first, last = token.map
        title = _strip_inline_marks(tokens[position + 1].content) if kind.is_heading else None
        builder.add(kind, starts[first], starts[last], level=_level(token), title=title)
    return builder.build(source.media_type)


def _strip_inline_marks(title: str) -> str:
    """Return a heading as it is displayed, for the path of its section."""
    return _INLINE_MARK.sub("", _LINK.sub(r"\1", title))


def _blocks(text: str) -> list[Token]:
    """Return the tokens of the blocks, with the line numbers of the text."""
    front_end = _front_matter_end(text)
    # The front matter is replaced by empty lines to keep the line numbers.
    return _reader().parse("\n" * text.count("\n", 0, front_end) + text[front_end:])


def _shown(text: str, tokens: Sequence[Token]) -> str:
    """Return the text as a reader sees it. Code is not changed."""
    starts = _line_starts(text)
    code = [(starts[token.map[0]], starts[token.map[1]]) for token in tokens if token.type in _CODE and token.map]
    pieces: list[str] = []
    end = _front_matter_end(text)
    pieces.append(text[:end])
    for first, last in code:
        if first >= end:
            pieces += [shown_prose(text[end:first]), text[first:last]]
            end = last
    return "".join([*pieces, shown_prose(text[end:])])


def _front_matter_end(text: str) -> int:
    """Return the end of the YAML front matter, which would otherwise be parsed as a heading, or 0."""
    front = _FRONT_MATTER.match(text)
    return front.end() if front else 0


def _level(token: Token) -> int:
    return int(token.tag[1:]) - 1 if token.type == "heading_open" else 0


def _line_starts(text: str) -> list[int]:
    """Return the start of each line, and the end of the text as the start of a line after the last."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    starts[-1] = len(text)
    return [*starts, len(text)]
