"""The way to `unstructured`: loads it without telemetry, downloads or spaCy, and reads its elements."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.tables import html_table

#: Read by unstructured at its import and at every call.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "SCARF_NO_ANALYTICS": "1",
    "UNSTRUCTURED_DISABLE_NOTICE": "1",
}
_KINDS = {
    "Title": ElementKind.HEADING,
    "ListItem": ElementKind.LIST_ITEM,
    "Table": ElementKind.TABLE,
    "CodeSnippet": ElementKind.CODE,
}
_LEFT_OUT = frozenset({"PageBreak", "Image"})
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"\w+|[^\w\s]")

Partition = Callable[..., Iterable[Any]]


def load_partition_docx() -> Partition:
    """`unstructured.partition.docx.partition_docx`, to be called with `languages=[""]`: without detecting them.

    unstructured tags parts of speech with a spaCy model that it downloads at the first text it meets, and importing
    spaCy takes seconds and hundreds of megabytes (it imports torch). It only uses them to guess which paragraphs of
    formats without markup are titles, which Word files do not need: a small module stands in.
    """
    os.environ.update(_QUIET)
    sys.modules.setdefault("unstructured.nlp.tokenize", _plain_tokenize_module())
    partition: Partition = importlib.import_module("unstructured.partition.docx").partition_docx
    return partition


def _plain_tokenize_module() -> ModuleType:
    module = ModuleType("unstructured.nlp.tokenize")
    functions: dict[str, Callable[[str], list[Any]]] = {
        "sent_tokenize": lambda text: _SENTENCE_END.split(text),
        "word_tokenize": lambda text: _WORD.findall(text),
        # No tags: no text is a title by its grammar.
        "pos_tag": lambda text: [(word, "") for word in _WORD.findall(text)],
    }
    vars(module).update(functions)
    return module


def add_elements(builder: DocumentBuilder, elements: Iterable[Any]) -> None:
    """Appends unstructured's elements."""
    for element in elements:
        category = type(element).__name__
        if category in _LEFT_OUT:
            continue
        kind = _KINDS.get(category, ElementKind.PARAGRAPH)
        text = str(element.text)
        if kind is ElementKind.TABLE and element.metadata.text_as_html:
            text = _whole_table(html_table(element.metadata.text_as_html), text)
        page = element.metadata.page_number
        builder.add(kind, text, page=page, level=element.metadata.category_depth or 0)


def _whole_table(table: str, text: str) -> str:
    """The table, or its text if that says more: unstructured leaves out rows whose spans contradict each other."""
    missing = set(text.split()) - set(table.replace("\\|", "|").split())
    return text if missing else table
