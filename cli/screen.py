"""What the commands print on: Rich, and safe when the terminal has gone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import IO, Any

from rich.console import Console, RenderableType


class Screen:
    """Standard output that may vanish: stopping the stack must not fail because nobody reads along."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self.console: Console = _LastingConsole(file=file, highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            # A file or a pipe has no width of its own, and the usual guess of 80 columns cuts tables.
            self.console.width = 160

    def print(self, *lines: RenderableType) -> None:
        """Prints each on a line of its own."""
        for line in lines:
            try:
                self.console.print(line)
            except OSError:  # the terminal was closed
                self.console.quiet = True

    def waiting(self, text: str) -> AbstractContextManager[Any]:
        """A spinner with a text on a terminal, nothing elsewhere."""
        return self.console.status(text) if self.console.is_terminal else nullcontext()


class _LastingConsole(Console):
    def on_broken_pipe(self) -> None:
        # Rich would end the process here.
        self.quiet = True
