"""Splits a mailbox into its messages, with one message in memory at a time."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ingest.parsers.charsets import utf16_as_utf8
from ingest.parsers.mail.detection import is_separator

#: Longer lines are read in pieces of this size.
_LINE_BYTES = 64 * 1024
#: The quoting of a text line that begins with “From”, which distinguishes it from a separator line.
_QUOTED_FROM = re.compile(rb"^>(?=>*From )", re.M)


def read_messages(path: Path) -> Iterator[bytes]:
    """Yield the messages of a mailbox, without the quoting of lines that begin with “From”."""
    with path.open("rb") as file:
        head = file.read(_LINE_BYTES)
        if utf16_as_utf8(head) != head:
            # Rewritten as a whole, since its lines cannot be found in the bytes.
            with tempfile.NamedTemporaryFile(prefix="mailbox-") as copy:
                copy.write(utf16_as_utf8(path.read_bytes()))
                copy.flush()
                yield from read_messages(Path(copy.name))
            return
        for start, end in _message_spans(path):
            file.seek(start)
            yield _QUOTED_FROM.sub(b"", file.read(end - start))


def _message_spans(path: Path) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each message, in bytes."""
    start: int | None = None
    position = 0
    # The two lines before the current one.
    before, last = b"\n", b""
    with path.open("rb") as file:
        while line := file.readline(_LINE_BYTES):
            if before.endswith(b"\n") and is_separator(last, line, after_blank=not before.strip()):
                if start is not None:
                    yield start, position - len(last)
                start = position
            position += len(line)
            before, last = last or before, line
    if start is not None:
        yield start, position
