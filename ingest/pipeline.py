"""Parsing of a document: from its file to a file of chunks, in a process that may be killed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from core.errors import ConfigurationError, DocumentRejected
from core.settings import Settings
from ingest.chunker import ChunkSettings, chunk_document
from ingest.embedding.tokenizer import TextTokenizer, load_tokenizer
from ingest.indexing.chunk_files import write_chunks
from ingest.parsed_document import ParsedDocument
from ingest.parsers import import_parsers, parse_text, parse_unknown
from ingest.parsers.source import ParserOptions
from ingest.sandbox.process_limits import parsing_limits

log = logging.getLogger(__name__)

#: Longer properties are cut, since the title in a file can have megabytes.
_LONGEST_PROPERTY_CHARACTERS = 1000
#: OCR ends after this share of the time for a file, so that what it has read is not lost with the rest.
_OCR_SHARE = 0.7
#: The share of the processor time for a file that reading its pages may take; the rest is for its chunks.
_PAGES_SHARE = 0.5
NO_PERMISSION = "The file cannot be read: the server has no permission. Change its mode."


@dataclass(frozen=True)
class ParseResult:
    """The result of parsing a file."""

    chunk_count: int
    media_type: str
    #: Properties that the file contains, such as the headers of an e-mail or the number of pages.
    properties: dict[str, str] = field(default_factory=dict)


def parse_to_chunks(
    path: Path,
    filename: str,
    out: Path,
    settings: Settings,
    chunking: ChunkSettings | None = None,
    *,
    is_text: bool = False,
) -> ParseResult:
    """Parse a file, cut it into chunks and write them to `out`: all of them or nothing.

    Args:
        path: the file on this machine.
        filename: its name as its owner knows it.
        chunking: the collection's own; the one of the settings if it has none.
        is_text: read the file as text, or as Markdown if its name says so, without detecting its type.

    Raises:
        DocumentRejected: the file cannot be ingested; the message tells its owner the reason.
        MemoryError: parsing took more than PARSE_MEMORY_BYTES.
        CpuTimeExceeded: parsing took more than PARSE_CPU_SECONDS.
        Exception: any error of a parser that does not know this kind of damage.
    """
    # Loaded before the memory is limited, since it stays loaded for other files.
    tokenizer = _tokenizer(settings)
    chunking = chunking or ChunkSettings(settings.chunk_tokens, settings.chunk_overlap_tokens)
    with parsing_limits(memory_bytes=settings.parse_memory_bytes, cpu_seconds=settings.parse_cpu_seconds):
        document = parse_file_safely(path, filename, settings, is_text=is_text)
        max_tokens = chunking.max_tokens(tokenizer.max_tokens)
        chunks = chunk_document(
            document,
            tokenizer,
            max_tokens=max_tokens,
            overlap_tokens=chunking.overlap_tokens,
            window_tokens=tokenizer.max_tokens,
        )
        write_chunks(out, chunks)
    properties = {name: value[:_LONGEST_PROPERTY_CHARACTERS] for name, value in document.metadata.items()}
    return ParseResult(len(chunks), document.media_type, properties)


def parse_file_safely(path: Path, filename: str, settings: Settings, *, is_text: bool = False) -> ParsedDocument:
    """Return the text and elements of a file, after checking its size. `is_text`: see `parse_to_chunks`.

    Raises:
        DocumentRejected: see `parse_to_chunks`.
    """
    try:
        check_size(path.stat().st_size, settings.max_upload_bytes)
        ocr_seconds = _OCR_SHARE * settings.parse_timeout_seconds
        page_seconds = _PAGES_SHARE * settings.parse_cpu_seconds
        options = ParserOptions(settings.ocr_languages, settings.ocr_max_pages, ocr_seconds, page_seconds)
        return (parse_text if is_text else parse_unknown)(path, filename, options)
    except PermissionError as error:
        raise DocumentRejected(NO_PERMISSION) from error
    except IsADirectoryError as error:
        raise DocumentRejected("This is a folder, not a file.") from error
    except RecursionError as error:
        raise DocumentRejected("The file is broken: it is nested too deeply to be read.") from error


def check_size(size_bytes: int, limit_bytes: int) -> None:
    """Check that a file is not too large.

    Raises:
        DocumentRejected: it is.
    """
    if size_bytes > limit_bytes:
        raise DocumentRejected(f"The file has {size_bytes} bytes; MAX_UPLOAD_BYTES allows {limit_bytes}.")


def warm_up(settings: Settings | None = None) -> None:
    """Import all parsers and, if settings are given, load the tokenizer: children that are forked later have them."""
    import_parsers()
    if settings is not None:
        _tokenizer(settings)


def has_tokenizer(settings: Settings) -> bool:
    """Return whether the tokenizer of the embedding model can be loaded; if not, log the reason."""
    try:
        _tokenizer(settings)
    except ConfigurationError as error:
        log.warning("a collection is chunked for the server's embedding model instead of its own: %s", error.message)
        return False
    return True


@lru_cache(maxsize=16)
def _tokenizer(settings: Settings) -> TextTokenizer:
    return load_tokenizer(settings)
