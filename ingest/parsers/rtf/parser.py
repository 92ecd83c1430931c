"""Rich Text Format: what the document shows, or the HTML that an e-mail program has put into it."""

from __future__ import annotations

from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.rtf.reader import Reader
from ingest.parsers.source import SourceFile


def parse(source: SourceFile) -> ParsedDocument:
    """Headings with their levels, paragraphs, lists, and tables as Markdown.

    Footnotes, comments and text boxes stand after the paragraph or table that they belong to, headers before the text
    and footers after it. A file that is cut is read as far as it goes.

    Raises:
        DocumentRejected: it has more text than any document.
    """
    # Latin-1 keeps every byte as it is: RTF is ASCII, and what is not is in the charset of its font.
    text = source.path.read_bytes().decode("latin-1")
    reader = _read(text, with_html=True)
    if reader.page is not None:
        document = _page(reader.page.take(), source.media_type)
        if document.elements:
            return document
        # It only says that it holds HTML.
        reader = _read(text, with_html=False)
    builder = DocumentBuilder()
    for block in reader.blocks():
        builder.add(block.kind, block.text, level=block.level)
    return builder.build(source.media_type)


def _read(text: str, *, with_html: bool) -> Reader:
    reader = Reader(text, with_html=with_html)
    reader.read()
    return reader


def _page(html: str, media_type: str) -> ParsedDocument:
    # Imported here: it takes long, and most rich texts hold no HTML.
    from ingest.parsers.html.page import add_html

    builder = DocumentBuilder()
    add_html(builder, html)
    return builder.build(media_type)
