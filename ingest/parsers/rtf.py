"""Rich Text Format, through striprtf, which knows its charsets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.source import SourceFile
from ingest.parsers.tables import markdown_table


def parse(source: SourceFile) -> ParsedDocument:
    """Paragraphs, and tables as Markdown.

    Raises:
        DocumentRejected: it is broken.
    """
    from striprtf.striprtf import rtf_to_text

    read: Callable[..., str] = rtf_to_text
    builder = DocumentBuilder()
    try:
        # Latin-1 keeps every byte as it is: RTF is ASCII, and what is not is in the charset of its font.
        text = read(source.path.read_bytes().decode("latin-1"), errors="replace")
    except (ValueError, KeyError, IndexError, LookupError, TypeError, AttributeError) as error:
        raise DocumentRejected(f"The RTF file is broken: {error}".rstrip(".") + ".") from error
    # A cell that ends with a paragraph has its bar on the next line.
    text = text.replace("\n|", "|")
    for is_table, lines in groupby(text.split("\n"), key=lambda line: line.rstrip().endswith("|")):
        if is_table:
            rows = [line.rstrip().removesuffix("|").split("|") for line in lines]
            builder.add(ElementKind.TABLE, markdown_table(rows))
        else:
            for line in lines:
                builder.add(ElementKind.PARAGRAPH, line)
    return builder.build(source.media_type)
