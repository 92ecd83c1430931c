"""Loads `unstructured` without telemetry, downloads or spaCy, and converts its elements."""

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

#: Environment variables that unstructured reads on import and at every call.
_NO_TELEMETRY = {
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
_SKIPPED_CATEGORIES = frozenset({"PageBreak", "Image"})
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"\w+|[^\w\s]")

Partition = Callable[..., Iterable[Any]]


def load_partition_docx() -> Partition:
    """Return `unstructured.partition.docx.partition_docx`. Call it with `languages=[""]` to skip language detection.

    unstructured tags parts of speech with a spaCy model that it downloads on first use, and importing spaCy takes
    seconds and hundreds of megabytes, because it imports torch. The tags only serve to guess titles in formats without
    markup, which Word files do not need, so a small stub module replaces the tagger.
    """
    os.environ.update(_NO_TELEMETRY)
    sys.modules.setdefault("unstructured.nlp.tokenize", _stub_tokenize_module())
    partition: Partition = importlib.import_module("unstructured.partition.docx").partition_docx
    return partition


def _stub_tokenize_module() -> ModuleType:
    module = ModuleType("unstructured.nlp.tokenize")
    functions: dict[str, Callable[[str], list[Any]]] = {
        "sent_tokenize": lambda text: _SENTENCE_END.split(text),
        "word_tokenize": lambda text: _WORD.findall(text),
        # Empty tags, so that no text becomes a title because of its grammar.
        "pos_tag": lambda text: [(word, "") for word in _WORD.findall(text)],
    }
    vars(module).update(functions)
    return module


def add_elements(builder: DocumentBuilder, elements: Iterable[Any]) -> None:
    """Append unstructured's elements."""
    for element in elements:
        category = type(element).__name__
        if category in _SKIPPED_CATEGORIES:
            continue
        kind = _KINDS.get(category, ElementKind.PARAGRAPH)
        text = str(element.text)
        if kind is ElementKind.TABLE and element.metadata.text_as_html:
            text = _table_or_text(html_table(element.metadata.text_as_html), text)
        page = element.metadata.page_number
        builder.add(kind, text, page=page, level=element.metadata.category_depth or 0)


def _table_or_text(table: str, text: str) -> str:
    """Return the table, or the plain text if it has more words: unstructured drops rows with contradictory spans."""
    missing = set(text.split()) - set(table.replace("\\|", "|").split())
    return text if missing else table
