"""Helpers that write real files for the end-to-end tests, and that wait for their documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docx
import httpx
from reportlab.pdfgen import canvas

from tests.support import wait_until


def write_docx(path: Path, *paragraphs: str) -> Path:
    """Write a Word document with a heading, and return its path."""
    document = docx.Document()
    document.add_heading(path.stem, level=1)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.save(str(path))
    return path


def write_pdf(path: Path, *pages: str, password: str | None = None) -> Path:
    """Write a PDF with a text layer, one text for each page, and return its path."""
    from reportlab.lib.pdfencrypt import StandardEncryption

    pdf = canvas.Canvas(str(path), encrypt=StandardEncryption(password) if password else None)
    for page in pages:
        pdf.drawString(72, 720, page)
        pdf.showPage()
    pdf.save()
    return path


def documents(http: httpx.Client, **filters: str) -> list[dict[str, Any]]:
    """Return all documents, from as many pages as necessary."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = http.get("/v1/rag/documents", params={"limit": "100", **filters, **after})
        page.raise_for_status()
        body = page.json()
        found += body["data"]
        if not body["has_more"]:
            return found
        after = {"after": found[-1]["id"]}


def settled(http: httpx.Client, filename: str, timeout_seconds: float = 60) -> dict[str, Any]:
    """Wait until the document of this name is completed or failed, and return it."""
    result: list[dict[str, Any]] = []

    def is_settled() -> bool:
        result[:] = [
            document
            for document in documents(http)
            if document["filename"] == filename and document["status"] in ("completed", "failed")
        ]
        return bool(result)

    wait_until(is_settled, timeout_seconds)
    return result[0]
