"""Rewrites reStructuredText and Org so that pandoc reads all of their text."""

from __future__ import annotations

import re

#: Lines that include other files. pandoc has no access to files here and would fail on them.
_RST_INCLUDES = re.compile(r"^[ \t]*\.\.[ \t]+(?:literal)?include::.*$", re.I | re.M)
_RST_SOURCE = re.compile(
    r"(^[ \t]*\.\.[ \t]+(?:csv-table|raw)::[^\n]*\n(?:[ \t]+:(?!file:|url:)[\w-]+:[^\n]*\n)*)"
    r"[ \t]+:(?:file|url):[^\n]*$",
    re.I | re.M,
)
_ORG_INCLUDES = re.compile(r"^[ \t]*#\+include:.*$", re.I | re.M)

#: Directives of Sphinx's domains, because pandoc does not accept a colon in a directive's name.
_DOMAIN = re.compile(r"^([ \t]*\.\.[ \t]+)([\w+-]+)((?::[\w+-]+)+)::(?=[ \t]|$)", re.M)
#: Sphinx's directive for a class of code, which pandoc would take for a class of style.
_CLASS = re.compile(r"^([ \t]*\.\.[ \t]+)class::(?=[ \t]+[\w.]+\()", re.M)
#: Directives whose text pandoc reads only in the lines below.
_QUOTE = re.compile(r"^([ \t]*\.\.[ \t]+)(epigraph|highlights|pull-quote)::(?=[ \t]+\S)", re.M)
_CAPTIONED = re.compile(r"([ \t]*)\.\.[ \t]+(?:code-block|code|sourcecode|literalinclude|toctree)::")
_OPTION = re.compile(r"[ \t]+:([\w-]+):[ \t]*(.*)")
#: A field at the start is document metadata, most of which pandoc does not write.
_FIRST_FIELD = re.compile(r"(?:\A|\n\n)(?=:[A-Za-z][^:\n`]*:[ \t])")
_RST_NOTE = re.compile(r"^\.\.[ \t]+\[(#?[\w.-]*|\*)\](?=[ \t])", re.M)

_ORG_NOTE = re.compile(r"^\[fn:([\w-]+)\]", re.M)
_ORG_SETTINGS = re.compile(r"^[ \t]*#\+(?:options|select_tags|exclude_tags):.*\n?", re.I | re.M)
_ORG_EXPORTS = re.compile(r"(:exports[ \t]+)(?:none|results|code)\b", re.I)
_ORG_KEYWORD = re.compile(r"^#\+(date|description|keywords|filetags|email):[ \t]*(\S.*)$", re.I | re.M)
_ORG_LOGBOOK = re.compile(r"^([ \t]*):LOGBOOK:[ \t]*$", re.I | re.M)
#: A drawer cannot contain the start of another, so that many unclosed drawers do not take quadratic time.
_ORG_PROPERTIES = re.compile(
    r"^[ \t]*:PROPERTIES:[ \t]*\n((?:[ \t]*:(?!PROPERTIES:)[^\n]*\n)*?)[ \t]*:END:[ \t]*$", re.I | re.M
)
_ORG_PROPERTY = re.compile(r"[ \t]*:([\w-]+)\+?:[ \t]+(\S.*)")
_ORG_TECHNICAL = re.compile(r"(?:custom_)?id|header-args|export_|visibility|unnumbered|ordered", re.I)
#: Formulas that pandoc would skip as raw LaTeX.
_ORG_FORMULA = re.compile(
    r"^[ \t]*\\begin\{((?:equation|align|gather|multline|displaymath)\*?)\}((?:[^\\]|\\(?!begin\{))*?)\\end\{\1\}", re.M
)
#: Settings that include everything in the file, not only what its author exports.
_ORG_ALL = "#+OPTIONS: arch:t d:t p:t pri:t tags:t author:t\n#+EXCLUDE_TAGS:\n#+SELECT_TAGS:\n"


def prepare(name: str, text: str) -> str:
    """Rewrite text in pandoc's format `rst` or `org` so that pandoc reads all of it, and no other files."""
    return _prepare_rst(text) if name == "rst" else _prepare_org(_ORG_INCLUDES.sub("", text))


def _prepare_rst(text: str) -> str:
    text = _RST_SOURCE.sub(r"\1", _RST_INCLUDES.sub("", text))
    text = _DOMAIN.sub(lambda match: f"{match[1]}{match[2]}{match[3].replace(':', '-')}::", text)
    text = _CLASS.sub(r"\1py-class::", text)
    text = _QUOTE.sub(r"\1\2-text::", text)
    text = "\n".join(_with_captions(text.split("\n")))
    text = _without_dangling_rst_notes(text)
    # After a paragraph, even one without text, the fields are read as a list.
    return _FIRST_FIELD.sub("\n\n\\\\ \n\n", text, count=1)


def _with_captions(lines: list[str]) -> list[str]:
    """Put the captions of listings and tables of contents before them as paragraphs."""
    found: list[str] = []
    directive: re.Match[str] | None = None
    directive_index = 0
    for line in lines:
        option = _OPTION.match(line)
        if directive and option and option[1] == "caption":
            found[directive_index:directive_index] = [f"{directive[1]}{option[2]}", ""]
            directive = None
        elif not option:
            directive, directive_index = _CAPTIONED.match(line), len(found)
        found.append(line)
    return found


def _without_dangling_rst_notes(text: str) -> str:
    """Turn notes that nothing refers to into paragraphs."""
    named = set(re.findall(r"\[(#?[\w.-]*|\*)\]_", text))
    return _RST_NOTE.sub(lambda match: match[0] if match[1] in named else f"[{match[1]}]", text)


def _prepare_org(text: str) -> str:
    text = _ORG_SETTINGS.sub("", text)
    text = _ORG_EXPORTS.sub(r"\1both", text)
    text = _ORG_KEYWORD.sub(r"\n\1: \2\n", text)
    text = _ORG_FORMULA.sub(r"\\[\2\\]", text)
    text = _ORG_LOGBOOK.sub(r"\1:NOTES:", text)
    text = _ORG_PROPERTIES.sub(_properties, text)
    return _ORG_ALL + _without_dangling_org_notes(text)


def _properties(match: re.Match[str]) -> str:
    """Return the properties of a section as paragraphs, without technical ones."""
    pairs = (_ORG_PROPERTY.match(line) for line in match[1].split("\n"))
    lines = [f"{pair[1]}: {pair[2]}\n" for pair in pairs if pair and not _ORG_TECHNICAL.match(pair[1])]
    return "\n".join(lines)


def _without_dangling_org_notes(text: str) -> str:
    """Turn notes that nothing refers to into paragraphs.

    An Org note extends to the next heading, so pandoc would drop all that text with an unreferenced note.
    """
    counts: dict[str, int] = {}
    for label in re.findall(r"\[fn:([\w-]+)", text):
        counts[label] = counts.get(label, 0) + 1
    return _ORG_NOTE.sub(lambda match: match[0] if counts[match[1]] > 1 else f"\n\n{match[1]}:", text)
