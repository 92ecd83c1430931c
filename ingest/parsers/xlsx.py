"""Excel workbooks: each sheet a section, one record per line. Needs openpyxl."""

from __future__ import annotations

import zipfile
import zlib

import openpyxl

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ParsedDocument
from ingest.parsers.source import SourceFile
from ingest.parsers.tables import add_sheet


def parse(source: SourceFile) -> ParsedDocument:
    """The values of the cells, formulas as last calculated.

    Raises:
        DocumentRejected: a part of the file is broken.
    """
    builder = DocumentBuilder()
    try:
        # Given a path, openpyxl would judge the file by its suffix.
        with source.path.open("rb") as file:
            workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
            for sheet in workbook.worksheets:
                # The stated size of a sheet may be 17 billion cells, for one stray cell: rows are read as they are.
                sheet.reset_dimensions()
                add_sheet(builder, sheet.title, sheet.iter_rows(values_only=True))
    # ElementTree's ParseError is a SyntaxError.
    except (
        OSError,
        AttributeError,
        KeyError,
        ValueError,
        TypeError,
        SyntaxError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
    ) as error:
        raise DocumentRejected(f"The workbook is broken: {error}".rstrip(".") + ".") from error
    return builder.build(source.media_type)
