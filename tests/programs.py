"""Marks of tests that need a program which `pip` does not install; scripts/ci_packages.sh has the packages."""

from __future__ import annotations

import pytest

from ingest.parsers.ocr import find_tesseract
from ingest.sandbox.programs import find_program

NEEDS_TESSERACT = pytest.mark.skipif(
    find_tesseract() is None, reason="tesseract is not installed: apt-get install tesseract-ocr"
)
#: For `make check`, too: converting a file takes seconds.
NEEDS_LIBREOFFICE = pytest.mark.skipif(
    find_program("soffice") is None,
    reason="LibreOffice is not installed: apt-get install libreoffice-{writer,calc,impress}-nogui",
)
