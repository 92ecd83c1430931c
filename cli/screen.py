"""The output of the commands: Rich, and safe if the terminal is closed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import IO, Any

from rich.console import Console, RenderableType
from rich.text import Text

from core.disk import is_disk_full


class Screen:
    """Standard output that may be closed: stopping the stack must not fail because the terminal is gone."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self.console: Console = _BrokenPipeSafeConsole(file=file, highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            # A file or a pipe has no width, and Rich's default of 80 columns cuts tables.
            self.console.width = 160

    def print(self, *lines: RenderableType) -> None:
        """Print each item on a line of its own."""
        for line in lines:
            try:
                self.console.print(line)
            except OSError as error:
                # On a full disk this line is lost; otherwise the terminal was closed.
                self.console.quiet = not is_disk_full(error)

    def report(self, line: str) -> None:
        """Print a line about what the program itself does, between those of the processes."""
        self.print(Text(f"llm-api: {line}", style="dim"))

    def waiting(self, text: str) -> AbstractContextManager[Any]:
        """Return a spinner with a text if this is a terminal, else a context manager that does nothing."""
        return self.console.status(text) if self.console.is_terminal else nullcontext()


class _BrokenPipeSafeConsole(Console):
    def on_broken_pipe(self) -> None:
        # By default, Rich would end the process here.
        self.quiet = True
