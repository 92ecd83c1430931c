"""The files that pass chunks from parsing to indexing: one JSON object per line."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ingest.parsed_document import Chunk

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Chunk)


def read_chunks(path: Path) -> list[Chunk]:
    """Return the chunks of a file that `write_chunks` wrote.

    Raises:
        FileNotFoundError: the file does not exist, or was written in a format that is no longer read. Parsing the
            document again makes a new one.
    """
    try:
        return [_decoder.decode(line) for line in path.read_bytes().splitlines()]
    except msgspec.DecodeError as error:
        raise FileNotFoundError(f"{path} contains no readable chunks: {error}") from error


def write_chunks(out: Path, chunks: Iterable[Chunk]) -> None:
    """Write a file of chunks. It is renamed to `out` when it is complete, so that `out` is never half written.

    It is not synced to disk, since that would take most of the time for a small file. After a power cut, indexing
    notices missing chunks by their number, which the catalog knows, and the document is parsed again.
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
