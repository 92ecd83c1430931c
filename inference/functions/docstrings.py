"""Reads the docstrings of functions: the description, and what they say about each argument.

griffe does the work. docstring_parser is not used: one line without a colon among the arguments, or an error without
its type under "Raises", makes it take the whole docstring for the description.
"""

from __future__ import annotations

import re
from typing import Final

from griffe import (
    Docstring,
    DocstringSection,
    DocstringSectionAdmonition,
    DocstringSectionParameters,
    DocstringSectionText,
    parse,
)

#: The styles to try; Sphinx's is reStructuredText with fields such as `:param name:`.
_STYLES: Final = ("google", "numpy", "sphinx")
#: Sections that only readers of the code need.
_SKIPPED_SECTIONS = frozenset({"example", "references", "return", "see-also", "yield"})
#: griffe ignores a section unless there is a blank line above its heading and none below.
_HEADING = re.compile(r"^(\S.*:)[ \t]*\n+(?=[ \t])", re.MULTILINE)
#: The role in :class:`Name`: in an argument's type, griffe takes its colon for the end of the type.
_ROLE = re.compile(r":[\w:]+:(?=`)")


def parse_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the description and, by name, the descriptions of the arguments.

    The style is the one in which most arguments are found.
    """
    docstring = Docstring(_ROLE.sub("", _HEADING.sub(r"\n\1\n", text)))
    readings = [parse(docstring, style, warnings=False) for style in _STYLES]
    sections = max(readings, key=lambda reading: (len(_arguments(reading)), len(reading)))
    return _on_one_line(" ".join(map(_prose, sections))), _arguments(sections)


def _arguments(sections: list[DocstringSection]) -> dict[str, str]:
    return {
        argument.name.strip(): _on_one_line(argument.description)
        for section in sections
        if isinstance(section, DocstringSectionParameters)
        for argument in section.value
    }


def _prose(section: DocstringSection) -> str:
    """Return what a section adds to the description."""
    if isinstance(section, DocstringSectionText):
        return section.value
    if isinstance(section, DocstringSectionAdmonition):
        return _admonition(str(section.value.kind), section.title or "", section.value.contents)
    return ""


def _admonition(kind: str, title: str, contents: str) -> str:
    """Return a section such as "Note:" as text; griffe takes what follows the colon, or else the heading, as title."""
    if kind in _SKIPPED_SECTIONS:
        return ""
    words = kind.replace("-", " ")
    if title.lower() in (words, f"{words}s"):
        return f"{title}: {contents}"
    return f"{words.capitalize()}: {title} {contents}"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
