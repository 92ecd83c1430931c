"""The file of chunks between parsing and indexing: one JSON object per line."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ingest.parsed_document import Chunk

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Chunk)


def read_chunks(path: Path) -> list[Chunk]:
    """The chunks that `parse_to_chunks` wrote.

    Raises:
        FileNotFoundError: they are not there, or were written in a form that is no longer read: parse again.
    """
    try:
        return [_decoder.decode(line) for line in path.read_bytes().splitlines()]
    except msgspec.DecodeError as error:
        raise FileNotFoundError(f"{path} holds no chunks that can be read: {error}") from error


def write_chunks(out: Path, chunks: Iterable[Chunk]) -> None:
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
