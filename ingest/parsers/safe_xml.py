"""The XML parser for untrusted files. All parsers of this package that read XML use it."""

from __future__ import annotations

from typing import Literal

from lxml import etree


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
