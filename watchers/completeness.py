"""Whether a file looks as if the rest of it is still to be written. Pure: the file's ends are passed in."""

from __future__ import annotations

#: The bytes at the beginning and at the end of a file that are looked at. A ZIP archive may end with a comment.
HEAD_BYTES = 16
TAIL_BYTES = 66_000
#: As many zero bytes at the end mean that space was reserved for what is not written yet.
RESERVED_BYTES = 1024
#: Formats that end with a mark: how a file begins, the mark, and in how many of the last bytes it is.
_END_MARKS = (
    (b"%PDF-", b"%%EOF", 4096),
    (b"PK\x03\x04", b"PK\x05\x06", TAIL_BYTES),
    (b"\x89PNG\r\n", b"IEND", TAIL_BYTES),
    (b"\xff\xd8\xff", b"\xff\xd9", TAIL_BYTES),
)


def why_incomplete(head: bytes, tail: bytes) -> str | None:
    """Return what is missing of a file with this beginning and end, or None if nothing seems to be.

    Args:
        head: its first HEAD_BYTES.
        tail: its last TAIL_BYTES, or all of it.
    """
    end = tail[-RESERVED_BYTES:]
    if end and not end.strip(b"\0"):
        return "ends with zero bytes"
    for beginning, mark, within in _END_MARKS:
        if head.startswith(beginning) and mark not in tail[-within:]:
            return f"has no {mark!r} at its end"
    return None
