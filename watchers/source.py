"""The port of sources: places outside, such as a folder or a web site, whose items are documents of a collection."""

from __future__ import annotations

from typing import Any, Protocol


class Source(Protocol):
    """A place whose items become documents: new and changed ones are ingested, and the documents of gone ones deleted.

    Each source runs in a thread of its own, so a slow one delays no other. It records in the catalog, under its key,
    its state (`save_watched_folder`) and the items that it skips (`save_skipped`), and retries what fails for now.
    """

    def run(self) -> None:
        """Mirror the source until `stop` is called from another thread."""

    def stop(self) -> None:
        """Make `run` return, within a second or two if it is not waiting for somebody else."""

    def info(self) -> dict[str, Any]:
        """Return what is announced of it: its `path` (the key in the catalog), `collection`, `mode` and `state`."""

    @property
    def waiting_count(self) -> int:
        """The number of its items that were found and are not taken yet."""
