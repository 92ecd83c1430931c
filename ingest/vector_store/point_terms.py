"""The terms by which BM25 finds a point: those of its text, of its header, and of the names of its file and folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
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
#: The points of a document are written one after the other.
_KEPT_NAMES = 64


def point_terms(payload: Mapping[str, Any]) -> SparseTerms:
    """Return the terms of a point, given at least the `TERM_SOURCES` of its payload."""
    names = " ".join(_name_words(payload.get("path"), payload["filename"]))
    return document_terms(f"{names}\n\n{with_header(payload.get('header') or '', payload['text'])}")


def name_terms(payload: Mapping[str, Any]) -> SparseTerms:
    """Return the terms of a point that are those of the names of its file and folders."""
    return document_terms(" ".join(_name_words(payload.get("path"), payload["filename"])))


def terms_after_rename(stored: Mapping[str, Any], document: Mapping[str, Any]) -> SparseTerms | None:
    """Return the new terms of a point, or None if the names of its file and folders are still the same.

    Args:
        stored: at least the `TERM_SOURCES` of its payload.
        document: the values that all points of its document have now.
    """
    path, filename = document.get("path"), document["filename"]
    if _name_words(stored.get("path"), stored["filename"]) == _name_words(path, filename):
        return None
    return point_terms({**stored, "path": path, "filename": filename})


@lru_cache(_KEPT_NAMES)
def _name_words(path: str | None, filename: str) -> Sequence[str]:
    """Return the words of the names, without the file's suffix. Words that consist of parts are followed by these."""
    whole, file = PurePath(path or ""), PurePath(filename)
    folders = whole.parts[:-1] if whole.name == file.name else whole.parts
    stem = file.stem if _SUFFIX.fullmatch(file.suffix) else file.name
    words: list[str] = []
    for name in (*folders, stem):
        for word in filter(None, _BETWEEN_WORDS.split(name)):
            words.append(word)
            for plain in _WORD.findall(word):
                parts = _PART.findall(plain)
                words += parts if len(parts) > 1 else []
    return words
