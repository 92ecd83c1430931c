"""The terms by which BM25 finds a point: those of its text, of its header, and of the names of its file and folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ingest.parsed_document import with_header
from ingest.vector_store.sparse import SparseTerms, document_terms

#: The payload values from which a point's terms are made.
TERM_SOURCES = ["filename", "path", "header", "text"]
#: The suffix of a file's name. A number after a point is none.
_SUFFIX = re.compile(r"\.(?=\w*[^\W\d])\w{1,5}")
_BETWEEN_WORDS = re.compile(r"[\s_]+")
_WORD = re.compile(r"[^\W_]+")
#: The parts of a word such as `offer889` or `FuseBox`: digits, capitals, or letters after at most one capital.
_PART = re.compile(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|[A-Z]")


def point_terms(payload: Mapping[str, Any]) -> SparseTerms:
    """Return the terms of a point, given at least the `TERM_SOURCES` of its payload."""
    names = " ".join(_name_words(payload))
    return document_terms(f"{names}\n\n{with_header(payload.get('header') or '', payload['text'])}")


def terms_after_rename(stored: Mapping[str, Any], document: Mapping[str, Any]) -> SparseTerms | None:
    """Return the new terms of a point, or None if the names of its file and folders are still the same.

    Args:
        stored: at least the `TERM_SOURCES` of its payload.
        document: the values that all points of its document have now.
    """
    names = {key: document.get(key) for key in ("filename", "path")}
    if _name_words(stored) == _name_words(names):
        return None
    return point_terms({**stored, **names})


def _name_words(payload: Mapping[str, Any]) -> list[str]:
    """Return the words of the names, without the file's suffix. Words that consist of parts are followed by these."""
    path, filename = PurePath(payload.get("path") or ""), PurePath(payload["filename"])
    folders = path.parts[:-1] if path.name == filename.name else path.parts
    stem = filename.stem if _SUFFIX.fullmatch(filename.suffix) else filename.name
    words: list[str] = []
    for name in (*folders, stem):
        for word in filter(None, _BETWEEN_WORDS.split(name)):
            words.append(word)
            for plain in _WORD.findall(word):
                parts = _PART.findall(plain)
                words += parts if len(parts) > 1 else []
    return words
