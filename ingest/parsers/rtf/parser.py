"""Rich Text Format: the text of the document, or the HTML that an e-mail program encapsulated in it.

It is read here because pandoc loses headers, text boxes, comments, charsets and rows of tables, and truncated files.
"""

from __future__ import annotations

from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.pictures import Pictures
from ingest.parsers.rtf.reader import Reader
from ingest.parsers.source import SourceFile


def parse(source: SourceFile) -> ParsedDocument:
    """Parse headings, paragraphs, lists, and tables (as Markdown).

    Footnotes, comments and text boxes follow the paragraph or table that they belong to. Headers precede the text, and
    footers follow it. A truncated file is read up to its end.

    Raises:
        DocumentRejected: If the file has too much text.
    """
    # Latin-1 maps each byte to one character. RTF is ASCII; other bytes are decoded later in the charset of their font.
    text = source.path.read_bytes().decode("latin-1")
    pictures = Pictures(source.options)
    reader = _read(text, pictures, with_html=True)
    if reader.page is not None:
        document = _page(reader.page.take(), source.media_type, pictures)
        if document.elements:
            return document
        # It declares encapsulated HTML but contains none.
        reader = _read(text, pictures, with_html=False)
    builder = DocumentBuilder()
    for block in reader.blocks():
        builder.add(block.kind, block.text, level=block.level)
    return builder.build(source.media_type, **pictures.properties)


def _read(text: str, pictures: Pictures, *, with_html: bool) -> Reader:
    reader = Reader(text, pictures, with_html=with_html)
    reader.read()
    return reader


def _page(html: str, media_type: str, pictures: Pictures) -> ParsedDocument:
    # Imported here, because the import is slow and most RTF files contain no HTML.
    from ingest.parsers.html.page import add_html

    builder = DocumentBuilder()
    add_html(builder, html, pictures)
    return builder.build(media_type, **pictures.properties)
