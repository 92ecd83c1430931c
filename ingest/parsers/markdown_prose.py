"""Markdown as it is rendered: without comments and hidden elements, with marks for what is struck out or raised."""

from __future__ import annotations

import re

from ingest.parsers.html.style import look_of_style
from ingest.parsers.line_ends import unwrap
from ingest.parsers.raised import lowered, raised, struck_out

#: Signs of something to change, and what each of them contains. Most files have none.
_SIGNS = re.compile(
    r"<!--|\{/\*|^%%|^ {0,3}\[[^\]\n]*\]:\s*(?:#|<>)|<(?:s|del|strike|su[pb]|script|style|template)\b|\shidden\b"
    r"|style\s*=|\w\^[\d+-]+\^",
    re.I | re.M,
)
_PARTS_OF_SIGNS = ("<", "{/*", "%%", "]:", "^")
_LINE_END = re.compile(r"[-\u2010\u3001-\u9fff][ \t]*\n")
_CODE_SPAN = r"(?<!`)(?P<ticks>`+)(?!`)[^`]{0,2000}?(?:(?<!`)(?P=ticks)(?!`))"
#: None of these patterns reaches over its own beginning, so that many unclosed ones take no quadratic time.
_COMMENT = (
    r"<!--(?:[^<-]|<(?!!--)|-(?!->))*+-->|\{/\*(?:[^{*]|\{(?!/\*)|\*(?!/\}))*+\*/\}"
    r"|^%%[ \t]*\n(?:(?!%%).*+\n)*+%%[ \t]*$"
)
#: A definition of a link to nothing, whose title is a comment: `[//]: # (words)`.
_LINK_COMMENT = (
    r"^ {0,3}\[[^\]\n]{1,99}\]:[ \t]*(?:#|<>)[ \t]*"
    r"(?:\((?:[^()\n]|\n(?!\s*\n))*\)|\"(?:[^\"\n]|\n(?!\s*\n))*\"|'(?:[^'\n]|\n(?!\s*\n))*')?[ \t]*$"
)
_ELEMENT = (
    r"<(?P<tag>script|style|template|s|del|strike|sup|sub)\b(?P<attributes>[^<>]{0,2000})>"
    r"(?P<inner>(?:[^<]|<(?!/?(?P=tag)\b)){0,20000}+)</(?P=tag)\s*>"
)
_STYLED = (
    r"<(?P<styled>[a-z][a-z0-9]{0,9})\b(?P<style>[^<>]{0,2000}?\s(?:hidden\b|style\s*=)[^<>]{0,2000})>"
    r"(?P<content>(?:[^<]|<(?!/?(?P=styled)\b)){0,20000}+)</(?P=styled)\s*>"
)
_RAISED = r"(?<=\w)\^(?P<power>[-+\u2212]?\d{1,4})\^"
_PART = re.compile("|".join((_CODE_SPAN, _COMMENT, _LINK_COMMENT, _ELEMENT, _STYLED, _RAISED)), re.I | re.M)
_STYLE = re.compile(r"style\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.I)
_HIDDEN = re.compile(r"\shidden(?![\w-]|\s*=\s*[\"']?until-found)", re.I)


def needs_change(text: str) -> bool:
    """Return whether a text may have parts that `shown_prose` changes."""
    if any(part in text for part in _PARTS_OF_SIGNS) and _SIGNS.search(text):
        return True
    return _LINE_END.search(text) is not None


def shown_prose(text: str) -> str:
    """Return Markdown that is not a block of code as a reader sees it. Other markup stays."""
    return unwrap(_PART.sub(lambda part: _shown(part, text), text))


def _shown(part: re.Match[str], text: str) -> str:
    if part["ticks"]:
        return part[0]
    if part["power"]:
        return raised(part["power"], text[part.start() - 1])
    if part["styled"]:
        return _shown_element(part)
    if not part["tag"]:
        return ""
    tag, inner = part["tag"].lower(), part["inner"]
    if tag in ("sup", "sub"):
        return (raised if tag == "sup" else lowered)(inner, text[max(part.start() - 1, 0) : part.start()])
    return struck_out(inner) if tag in ("s", "del", "strike") else ""


def _shown_element(part: re.Match[str]) -> str:
    style = _STYLE.search(part["style"])
    look = look_of_style((style[1] or style[2] or "") if style else "")
    if look.is_hidden or look.is_unseen or look.is_tiny or _HIDDEN.search(part["style"]):
        return ""
    content = shown_prose(part["content"]) if needs_change(part["content"]) else part["content"]
    if look.is_struck:
        return struck_out(content)
    return part[0].replace(part["content"], content) if part["content"] else part[0]
