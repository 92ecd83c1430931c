"""Fixtures: settings that need no service, and a function that parses bytes as a named file."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import Settings, load_settings
from ingest.parsed_document import ParsedDocument
from ingest.pipeline import parse_file_safely
from tests.unit.ingest.support import Read, assert_elements_cover


@pytest.fixture
def offline_settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", max_upload_bytes=5_000_000, _env_file=None)


@pytest.fixture
def read(tmp_path: Path, offline_settings: Settings) -> Read:
    """Return a function that parses bytes as a file of this name. On disk it has another name, as after an upload."""

    def parse(filename: str, data: bytes) -> ParsedDocument:
        path = tmp_path / "blob"
        path.write_bytes(data)
        document = parse_file_safely(path, filename, offline_settings)
        assert_elements_cover(document)
        return document

    return parse
