"""Resolves `$ref` within a schema. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote


def target_of(root: Any, reference: Any) -> Any:
    """Return the schema that a local `$ref` points to, or None if there is none."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    node = root
    for part in reference[1:].split("/")[1:] if reference != "#" else ():
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            return None
    return node
