"""The release of this program."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def release() -> str:
    """Return the version of the installed package, or "0.0.0" in a checkout that was not installed."""
    try:
        return version("llm-api")
    except PackageNotFoundError:
        return "0.0.0"
