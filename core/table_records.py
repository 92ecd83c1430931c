"""Recognises records: the lines `Part: valve; Stock: 12` that parsers write for the rows of a table. Pure."""

from __future__ import annotations

import re

_RECORD = re.compile(r"[^:;\n]{1,80}: [^\n]*; [^:;\n]{1,80}: ")


def is_record(line: str) -> bool:
    """Return whether a line is a record: it has at least two cells with the names of their columns."""
    return bool(_RECORD.match(line))
