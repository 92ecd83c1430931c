"""The parsers by media type. Each is a module with `parse(SourceFile) -> ParsedDocument`, imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import cast

from core.errors import DocumentRejected
from ingest.parsed_document import ParsedDocument
from ingest.parsers import detection
from ingest.parsers.detection import MARKDOWN, PLAIN, detect_media_type
from ingest.parsers.mail.signed import SIGNED
from ingest.parsers.payloads import without_payloads
from ingest.parsers.source import ParserOptions, SourceFile

Parser = Callable[[SourceFile], ParsedDocument]

_MODULES = {
    detection.PLAIN: "text",
    detection.CODE: "text",
    detection.MARKDOWN: "markdown",
    detection.LATEX: "latex",
    detection.RST: "pandoc.parser",
    detection.ORG: "pandoc.parser",
    detection.HTML: "html.page",
    detection.XML: "xml_file",
    detection.CSV: "delimited",
    detection.TSV: "delimited",
    detection.JSON: "json_file",
    detection.JSON_LINES: "json_file",
    detection.NOTEBOOK: "notebook",
    detection.VTT: "records.captions",
    detection.SRT: "records.captions",
    detection.SBV: "records.captions",
    detection.SSA: "records.captions",
    detection.ICALENDAR: "records.calendars",
    detection.VCARD: "records.contacts",
    detection.RTF: "rtf.parser",
    detection.DOCX: "office.docx",
    detection.DOC: "office.libreoffice",
    detection.ODT: "pandoc.parser",
    detection.EPUB: "epub",
    detection.PDF: "pdf.parser",
    detection.XLSX: "office.xlsx",
    detection.XLS: "office.xls",
    detection.ODS: "office.libreoffice",
    detection.PPTX: "office.pptx",
    detection.PPT: "office.libreoffice",
    detection.ODP: "office.libreoffice",
    detection.EML: "mail.eml",
    detection.MBOX: "mail.eml",
    detection.MSG: "mail.msg",
    detection.PNG: "image",
    detection.JPEG: "image",
    detection.TIFF: "image",
    detection.GIF: "image",
    detection.WEBP: "image",
    detection.BMP: "image",
    detection.AVIF: "image",
    detection.JPEG_2000: "image",
    detection.HEIC: "image",
    detection.TNEF: "mail.tnef",
    SIGNED: "mail.signed",
}
#: Types that need a package without a wheel for every platform: the package's import name and its PyPI name.
_OPTIONAL = {
    **dict.fromkeys((detection.RST, detection.ORG, detection.ODT), ("pypandoc", "pypandoc_binary")),
    detection.HEIC: ("pillow_heif", "pillow-heif"),
}
_ADVICE = {
    detection.HEIC: "Save it as JPEG or PDF and drop that.",
    detection.PAGES: "Export it from Pages as .docx or PDF and drop that.",
    detection.NUMBERS: "Export it from Numbers as .xlsx and drop that.",
    detection.KEYNOTE: "Export it from Keynote as .pptx or PDF and drop that.",
    "application/oxps": "Print it to a PDF and drop that.",
    "application/vnd.ms-visio.drawing.main+xml": "Save it as PDF and drop that.",
    detection.XLSB: "Save it as .xlsx.",
    "application/zip": "Drop the files in it instead.",
    "application/gzip": "Unpack it and drop the files in it instead.",
}


def parser_for(media_type: str) -> Parser:
    """Return the parser of a media type.

    Raises:
        DocumentRejected: If there is none, or its library is not installed.
    """
    module, advice = _MODULES.get(media_type), _ADVICE.get(media_type, "")
    if module is None:
        raise DocumentRejected(
            f"This type of file ({media_type}) is not supported. {advice}".rstrip(), code="unsupported_file"
        )
    if media_type in _OPTIONAL:
        name, package = _OPTIONAL[media_type]
        if find_spec(name) is None:
            message = f"This type of file ({media_type}) is not supported here: install {package} and drop it again."
            raise DocumentRejected(f"{message} {advice}".rstrip(), code="unsupported_file")
    return cast(Parser, importlib.import_module(f"ingest.parsers.{module}").parse)


def parse_file(source: SourceFile) -> ParsedDocument:
    """Parse a file whose media type is known, and leave out the payloads within its text.

    Raises:
        DocumentRejected: If the type has no parser, or the file is broken, encrypted or without text.
    """
    document = without_payloads(parser_for(source.media_type)(source))
    if not document.elements:
        raise DocumentRejected("The document is empty: there is no text in it.", code="empty_file")
    return document


def parse_unknown(path: Path, filename: str, options: ParserOptions, *, depth: int = 0) -> ParsedDocument:
    """Detect the media type of a file and parse it.

    Args:
        path: The file on disk.
        filename: The name that its owner gave it.
        options: The parser options.
        depth: The number of files that it is nested in.

    Raises:
        DocumentRejected: As for `parse_file`, or if the file is empty or an archive bomb.
    """
    if path.stat().st_size == 0:
        raise DocumentRejected("The file is empty.", code="empty_file")
    return parse_file(SourceFile(path, filename, detect_media_type(path, filename), options, depth))


def parse_text(path: Path, filename: str, options: ParserOptions) -> ParsedDocument:
    """Parse a file that is known to be text; it is read as Markdown if its name says so.

    Raises:
        DocumentRejected: If it has no text.
    """
    is_markdown = PurePath(filename).suffix.lower() in (".md", ".markdown")
    return parse_file(SourceFile(path, filename, MARKDOWN if is_markdown else PLAIN, options))


def import_parsers() -> None:
    """Import the parsers of the common types, so that processes forked afterwards share them and start faster."""
    for module in (
        "text",
        "markdown",
        "html.page",
        "delimited",
        "json_file",
        "office.docx",
        "pdf.parser",
        "office.xlsx",
        "office.pptx",
    ):
        importlib.import_module(f"ingest.parsers.{module}")
