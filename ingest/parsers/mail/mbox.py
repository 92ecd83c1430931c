"""Divides a mailbox into its messages, one in memory at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ingest.parsers.mail.detection import is_separator

#: Longer lines are read in pieces.
_LINE_BYTES = 64 * 1024
#: A line of the text that begins with “From” is marked, so that nobody takes it for the beginning of a message.
_MARKED = re.compile(rb"^>(?=>*From )", re.M)


def read_messages(path: Path) -> Iterator[bytes]:
    """The messages of a mailbox, as they were before they were put into it."""
    with path.open("rb") as file:
        for start, end in _places(path):
            file.seek(start)
            yield _MARKED.sub(b"", file.read(end - start))


def _places(path: Path) -> Iterator[tuple[int, int]]:
    """Where each message begins and ends."""
    start: int | None = None
    position = 0
    #: The two lines before the one that is looked at.
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
