"""Large files are read in a thread of their own, so that the small ones of their folder do not wait for them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor

from watchers.reconcile import FileStat

#: Files of more bytes are large. Reading one of this size takes less than a second.
LARGE_BYTES = 32 * 2**20


class LargeFiles:
    """Reads the large files of one folder, one after the other. Used by one thread."""

    def __init__(self, read: Callable[[str, FileStat], str]) -> None:
        """Prepare to read files with `read`, which returns the content's hash and may raise what it wants."""
        self._read = read
        self._executor = ThreadPoolExecutor(1, "large files")
        self._running: dict[str, tuple[FileStat, Future[str]]] = {}

    def hash(self, path: str, stat: FileStat) -> str | None:
        """Return the hash of the file that was seen at this path, or None while it is being read.

        Raises:
            Exception: what `read` has raised.
        """
        seen, future = self._running.get(path, (None, None))
        if future is None or seen != stat:
            if future is not None:
                future.cancel()
            self._running[path] = (stat, self._executor.submit(self._read, path, stat))
            return None
        if not future.done():
            return None
        del self._running[path]
        return future.result()

    def sizes(self) -> Collection[int]:
        """Return the sizes, in bytes, of the files that are being read."""
        return {stat.size_bytes for stat, _ in self._running.values()}

    def forget(self, paths: Collection[str]) -> None:
        """Forget files that are gone."""
        for path in paths:
            _, future = self._running.pop(path, (None, None))
            if future is not None:
                future.cancel()
