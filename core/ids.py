"""Identifiers: a prefix that says what they name, and 24 hex characters that sort by time of creation."""

from __future__ import annotations

import secrets
import time


def new_id(prefix: str) -> str:
    """Return a new id such as `doc-019…`: 44 bits of milliseconds, then 52 random bits, so ids sort by creation."""
    return f"{prefix}-{int(time.time() * 1000) & ((1 << 44) - 1):011x}{secrets.randbits(52):013x}"
