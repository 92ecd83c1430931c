"""Which documents share a message."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from core.catalog import Document, DocumentState
from tasks.documents.dispatch import BUNDLED_FILE_BYTES, bundles


def document(
    name: str, size_bytes: int = 1, attempts: int = 0, state: DocumentState = DocumentState.QUEUED
) -> Document:
    return cast(Document, SimpleNamespace(id=name, size_bytes=size_bytes, attempts=attempts, state=state))


def test_small_files_share_a_message_and_large_ones_get_their_own() -> None:
    large = BUNDLED_FILE_BYTES + 1
    found = [document("a"), document("B", large), document("c"), document("d"), document("E", large)]
    assert list(bundles(found, 2)) == [["B"], ["a", "c"], ["E"], ["d"]]
    assert list(bundles(found[:1], 8)) == [["a"]]


def test_a_document_whose_parser_was_lost_gets_a_message_of_its_own() -> None:
    found = [document("a"), document("B", attempts=1), document("C", state=DocumentState.PARSING), document("d")]
    assert list(bundles(found, 8)) == [["B"], ["C"], ["a", "d"]]


def test_without_waiting_documents_there_is_no_message() -> None:
    assert list(bundles([], 8)) == []
