"""Inputs that once hung a parser, exhausted its memory or lost structure. Each is small and must be read quickly."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from qdrant_client import QdrantClient

from ingest.indexing.points import index_document
from ingest.parsed_document import Chunk, ParsedDocument, content_hash_of
from ingest.parsers import parse_file
from ingest.parsers.detection import HTML, MARKDOWN, detect_media_type
from ingest.parsers.source import SourceFile
from ingest.vector_store.base import DocumentMeta, VectorStore
from ingest.vector_store.edge import EdgeVectorStore
from ingest.vector_store.server import ServerVectorStore

DIMENSION = 8


def parse(path: Path) -> ParsedDocument:
    return parse_file(SourceFile(path, path.name, detect_media_type(path, path.name)))


def test_many_leading_comments_do_not_take_exponential_time(tmp_path: Path) -> None:
    path = tmp_path / "template.md"
    path.write_text("<!---->" * 500 + "\n\n# Title\n\ntext\n")
    started = time.process_time()
    assert detect_media_type(path, path.name) == MARKDOWN
    assert time.process_time() - started < 1


def test_html_is_still_found_after_comments(tmp_path: Path) -> None:
    path = tmp_path / "page.txt"
    path.write_text("<!-- one --> <!-- two -->\n<!DOCTYPE html><html><body><p>hello</p></body></html>")
    assert detect_media_type(path, path.name) == HTML


def test_front_matter_is_not_a_heading(tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    path.write_text("---\ntitle: Warranty\nauthor: Ann\n---\n\n# Real\n\nbody\n")
    document = parse(path)
    assert [element.section for element in document.elements] == [None, "Real", "Real"]
    assert all(document.text[item.start : item.end] == item.text for item in document.elements)


def test_a_thematic_break_at_the_start_is_not_front_matter(tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    path.write_text("---\n\n# Real\n\nbody\n\n---\n")
    assert parse(path).elements[-2].section == "Real"


def test_a_line_cut_by_the_sample_does_not_decide_the_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    first = "name;note"
    path.write_text(f"{first}\nbolt;{'x' * (8192 - len(first) - 20)}\n{'long name' * 9};last\n")
    assert "note: last" in parse(path).text


def test_a_stray_cell_far_away_does_not_create_billions_of_cells(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.append(["name", "price"])
    workbook.active.append(["bolt", 3])
    workbook.active["XFD900"] = "far"
    workbook.save(tmp_path / "far.xlsx")
    document = parse(tmp_path / "far.xlsx")
    assert "name: bolt; price: 3" in document.text
    assert "far" in document.text
    assert len(document.text) < 200


class CountingEmbedder:
    def embed(self, texts: list[str], purpose: str, priority: str) -> np.ndarray:
        return np.eye(DIMENSION, dtype=np.float32)[[len(text) % DIMENSION for text in texts]]


@pytest.mark.parametrize("kind", ["edge", "server"])
def test_rebuilding_a_generation_does_not_change_the_active_one(kind: str, tmp_path: Path) -> None:
    store: VectorStore = (
        EdgeVectorStore(tmp_path / "vectors", "model", DIMENSION)
        if kind == "edge"
        else ServerVectorStore(QdrantClient(":memory:"), "model", DIMENSION, indexed=False)
    )
    chunks = [Chunk(i, f"text {i}", 0, 6, content_hash_of(f"text {i}")) for i in range(4)]
    # Given an active generation, and a first attempt at the next one with more points than the second attempt
    index_document(chunks, document=DocumentMeta("doc", 1, "c", "f"), embedder=CountingEmbedder(), store=store)
    index_document(chunks, document=DocumentMeta("doc", 2, "c", "f"), embedder=CountingEmbedder(), store=store)
    # When the next one is built again with fewer chunks
    index_document(chunks[:2], document=DocumentMeta("doc", 2, "c", "f"), embedder=CountingEmbedder(), store=store)
    # Then the active generation still has all its points
    assert (store.count("doc", 1), store.count("doc", 2)) == (4, 2)
    store.close()
