"""Loads `unstructured` without telemetry, downloads or spaCy, and converts its elements."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from lxml import html

from core.stub_modules import replace_module, stubbed
from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.tables.cells import Row, SpanGrid, span_of
from ingest.parsers.tables.records import table_parts

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


def _without_telemetry(_document_type: str) -> Callable[[Partition], Partition]:
    return lambda partition: partition


#: unstructured tags parts of speech with a spaCy model that it downloads on first use. Importing spaCy takes seconds
#: and hundreds of megabytes. The tags serve to guess titles in formats without markup, which Word files do not need:
#: without tags, no text becomes a title because of its grammar. For the same guesses it has a list of English words
#: (55 MB), and for its detection of languages a list of all languages (12 MB).
_REPLACED: dict[str, dict[str, object]] = {
    "unstructured.nlp.tokenize": {
        "sent_tokenize": lambda text: _SENTENCE_END.split(text),
        "word_tokenize": lambda text: _WORD.findall(text),
        "pos_tag": lambda text: [(word, "") for word in _WORD.findall(text)],
    },
    "unstructured.nlp.english_words": {"ENGLISH_WORDS": frozenset()},
    "unstructured.partition.common.lang": {"apply_lang_metadata": lambda elements, **_: elements},
    "unstructured.telemetry": {"init_telemetry": lambda: None, "partition_runtime_telemetry": _without_telemetry},
}


def load_partition_docx() -> Partition:
    """Return `unstructured.partition.docx.partition_docx`. Call it with `languages=[""]` to skip language detection.

    What it imports for other formats is replaced by stubs: each process that parses would need 90 MB more.
    """
    os.environ.update(_NO_TELEMETRY)
    for name, contents in _REPLACED.items():
        replace_module(name, contents)
    with stubbed("charset_normalizer", "emoji", "numpy", "psutil", "requests"):
        partition: Partition = importlib.import_module("unstructured.partition.docx").partition_docx
    return partition


def add_elements(builder: DocumentBuilder, elements: Iterable[Any]) -> None:
    """Append unstructured's elements."""
    for element in elements:
        category = type(element).__name__
        if category in _SKIPPED_CATEGORIES:
            continue
        kind = _KINDS.get(category, ElementKind.PARAGRAPH)
        text = str(element.text)
        page = element.metadata.page_number
        rows = _rows(element.metadata.text_as_html) if kind is ElementKind.TABLE else []
        if rows and not _has_more_words(text, rows):
            for part in table_parts(rows):
                builder.add(part.kind, part.text, page=page)
        else:
            builder.add(kind, text, page=page, level=element.metadata.category_depth or 0)


def _rows(table: str | None) -> list[Row]:
    """Return the rows of a table that unstructured has written as HTML."""
    grid = SpanGrid()
    for row in html.fromstring(table).iter("tr") if table else ():
        grid.begin_row()
        for cell in row.iterchildren("td", "th"):
            grid.add(cell.text_content(), columns=span_of(cell.get("colspan")), rows=span_of(cell.get("rowspan")))
    return grid.finish()


def _has_more_words(text: str, rows: list[Row]) -> bool:
    """Return whether the table's plain text has more words: unstructured drops rows with contradictory spans."""
    return not set(text.split()) <= {word for row in rows for cell in row.values() for word in cell.text.split()}
