"""The XML parser for untrusted files. All parsers of this package that read XML use it."""

from __future__ import annotations

import re
from html.entities import html5
from typing import Literal

from lxml import etree

#: A reference to a named entity. In CDATA sections it is text.
_ENTITY = re.compile(r"<!\[CDATA\[.*?\]\]>|&(\w+;)", re.S)
_DECLARED = re.compile(r"<!ENTITY\s+(\w+)\s")
#: The entities that XML itself defines.
_XML_ENTITIES = frozenset(("amp;", "apos;", "gt;", "lt;", "quot;"))


def resolve_named_entities(text: str) -> str:
    """Return XML with the characters that HTML, DocBook, JATS and others name, unless the file declares the name.

    Their names are in document types outside the file, which are not read.
    """
    if "&" not in text:
        return text
    kept = _XML_ENTITIES.union(f"{name};" for name in _DECLARED.findall(text)) if "<!ENTITY" in text else _XML_ENTITIES

    def resolved(match: re.Match[str]) -> str:
        return match[0] if match[1] is None or match[1] in kept else html5.get(match[1], match[0])

    return _ENTITY.sub(resolved, text)


def xml_parser(*, encoding: str | None = None, entities: Literal["internal", False] = False) -> etree.XMLParser:
    """Return a parser that reads nothing outside the file and drops comments and processing instructions.

    Parsing with it raises `etree.XMLSyntaxError` if the input is not XML, is nested more than 256 levels deep, or
    defines entities that would expand without limit.

    Args:
        encoding: The encoding of the bytes, if known; otherwise the one that they declare.
        entities: "internal" expands the entities that the file itself defines; False keeps all references unexpanded.
    """
    return etree.XMLParser(
        resolve_entities=entities,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        encoding=encoding,
    )
