"""Excel workbooks. Each sheet is a section, with one record per line."""

from __future__ import annotations

from ingest.parsed_document import DocumentBuilder, ParsedDocument, title_property
from ingest.parsers.office.cell_display import hidden_properties
from ingest.parsers.office.open_xml import Package, read_package
from ingest.parsers.office.sheet_cells import WorkbookCells
from ingest.parsers.office.sheet_notes import SheetNotes
from ingest.parsers.pictures import Pictures
from ingest.parsers.source import SourceFile
from ingest.parsers.tables.sheets import add_sheet


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the cells as they are shown, with formulas as last calculated, and the comments and drawings of each sheet.

    Raises:
        DocumentRejected: If the file is broken.
    """

    def read(package: Package) -> ParsedDocument:
        builder, pictures = DocumentBuilder(), Pictures(source.options)
        notes = SheetNotes(package, pictures)
        cells = WorkbookCells(package)
        for title, part, has_cells in cells.sheets():
            add_sheet(builder, title, cells.rows(part) if has_cells else (), notes.lines(title, part))
        named = title_property(package.title, source.filename)
        hidden = hidden_properties(cells.hidden_cells, cells.hidden_sheets)
        return builder.build(source.media_type, **named, **hidden, **pictures.properties)

    return read_package(source.path, read, file_kind="workbook")
