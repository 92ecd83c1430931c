"""The stages of a document: `parse_to_chunks` in a parsing process, `index_document` beside the vector store."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import msgspec

from core.errors import ConfigurationError, DocumentRejected
from core.settings import Settings
from ingest.chunker import ChunkSettings, chunk_document
from ingest.embedding.tokenizer import TextTokenizer, load_tokenizer
from ingest.indexing.points import Work, index_document, index_documents
from ingest.parsed_document import Chunk, ParsedDocument
from ingest.parsers import import_parsers, parse_text, parse_unknown
from ingest.parsers.source import ParserOptions
from ingest.sandbox.process_limits import parsing_limits
from ingest.vector_store.base import DocumentMeta

__all__ = ["ChunkSettings", "DocumentMeta", "ParseResult", "Work", "has_tokenizer", "index_document", "index_documents",
           "parse_file_safely", "parse_to_chunks", "read_chunks", "warm_up"]  # fmt: skip

log = logging.getLogger(__name__)

#: A file can give itself a title of megabytes.
_LONGEST_PROPERTY_CHARACTERS = 1000

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Chunk)


@dataclass(frozen=True)
class ParseResult:
    """What became of a file."""

    chunk_count: int
    media_type: str
    #: What the file says of itself: an e-mail's headers, the number of its pages, …
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
    """Reads a file, cuts it into chunks and writes them to `out`, one JSON object per line: all of them or nothing.

    Args:
        path: where the file lies.
        filename: what its owner calls it.
        chunking: a collection's own; that of the settings otherwise.
        is_text: it is text, or Markdown by its name, whatever it looks like.

    Raises:
        DocumentRejected: it cannot be ingested; the message is the reason, for its owner.
        MemoryError: it took more than PARSE_MEMORY_BYTES.
        CpuTimeExceeded: it took more than PARSE_CPU_SECONDS.
        Exception: whatever a parser raises on a file that is broken in a way it does not know.
    """
    # Loaded before the memory is limited: it stays.
    tokenizer = _tokenizer(settings)
    chunking = chunking or ChunkSettings(settings.chunk_tokens, settings.chunk_overlap_tokens)
    with parsing_limits(memory_bytes=settings.parse_memory_bytes, cpu_seconds=settings.parse_cpu_seconds):
        document = parse_file_safely(path, filename, settings, is_text=is_text)
        max_tokens = chunking.max_tokens(tokenizer.max_tokens)
        chunks = chunk_document(document, tokenizer, max_tokens=max_tokens, overlap_tokens=chunking.overlap_tokens)
        _write(out, chunks)
    properties = {name: value[:_LONGEST_PROPERTY_CHARACTERS] for name, value in document.metadata.items()}
    return ParseResult(len(chunks), document.media_type, properties)


def parse_file_safely(path: Path, filename: str, settings: Settings, *, is_text: bool = False) -> ParsedDocument:
    """The text and elements of a file, once it is known to be harmless. `is_text`: see `parse_to_chunks`.

    Raises:
        DocumentRejected: see `parse_to_chunks`.
    """
    try:
        _check_size(path, settings.max_upload_bytes)
        options = ParserOptions(settings.ocr_languages, settings.ocr_max_pages)
        return (parse_text if is_text else parse_unknown)(path, filename, options)
    except PermissionError as error:
        raise DocumentRejected("The file cannot be read: the server has no permission. Change its mode.") from error
    except IsADirectoryError as error:
        raise DocumentRejected("This is a folder, not a file.") from error
    except RecursionError as error:
        raise DocumentRejected("The file is broken: it is nested too deeply to be read.") from error


def _check_size(path: Path, limit_bytes: int) -> None:
    size = path.stat().st_size
    if size > limit_bytes:
        raise DocumentRejected(f"The file has {size} bytes; MAX_UPLOAD_BYTES allows {limit_bytes}.")


def read_chunks(path: Path) -> list[Chunk]:
    """The chunks that `parse_to_chunks` wrote.

    Raises:
        FileNotFoundError: they are not there, or were written in a form that is no longer read: parse again.
    """
    try:
        return [_decoder.decode(line) for line in path.read_bytes().splitlines()]
    except msgspec.DecodeError as error:
        raise FileNotFoundError(f"{path} holds no chunks that can be read: {error}") from error


def warm_up(settings: Settings | None = None) -> None:
    """Imports all parsers, and loads the tokenizer if settings are given, for children that are forked afterwards."""
    import_parsers()
    if settings is not None:
        _tokenizer(settings)


def has_tokenizer(settings: Settings) -> bool:
    """Whether the embedding model of the settings is to be had; why it is not is logged."""
    try:
        _tokenizer(settings)
    except ConfigurationError as error:
        log.warning("a collection is cut for the server's embedding model: %s", error.message)
        return False
    return True


@lru_cache(maxsize=16)
def _tokenizer(settings: Settings) -> TextTokenizer:
    return load_tokenizer(settings)


def _write(out: Path, chunks: Iterable[Chunk]) -> None:
    """Writes the file under another name first, so that under its own it is whole.

    It is not synced: that would take longer than all the rest for a small file. What a power cut takes of it is missed
    by its number of chunks, which the catalog knows, and made again from the original.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.writelines(_encoder.encode(chunk) + b"\n" for chunk in chunks)
        temporary.replace(out)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
