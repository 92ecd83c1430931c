"""Settings that need no service, and a way to read bytes as a named file."""

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
    """Parses bytes under a name. On disk the file is called otherwise, as after an upload."""

    def parse(filename: str, data: bytes) -> ParsedDocument:
        path = tmp_path / "blob"
        path.write_bytes(data)
        document = parse_file_safely(path, filename, offline_settings)
        assert_elements_cover(document)
        return document

    return parse
