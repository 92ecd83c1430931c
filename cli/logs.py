"""Following the log files of the processes, and printing their lines with the process's name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from cli.screen import Screen

COLORS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")
LEVEL_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\d (?P<time>\d\d:\d\d:\d\d)[,.]\d+ (?P<level>[A-Z]+) (?P<logger>[\w.]+): (?P<message>.*)"
)
#: What Celery's beat logs every few seconds if nothing is wrong.
ROUTINE = re.compile(r"Sending due task|Task maintenance\.\w+\[[^][]+\] (received|succeeded)")
#: If a process writes faster than this, lines are left out, so that the output does not fall behind.
MAX_BYTES_PER_POLL = 256 * 1024


class LogTail:
    """The new complete lines of one log file, across rotations. Starts at the present end of the file."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self._path = path
        self._inode = 0
        self._position = 0
        self._partial = b""
        if not from_start:
            self._skip_to_end()

    def lines(self) -> list[str]:
        """Return the lines that were completed since the last call."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return []
        if found.st_ino != self._inode or found.st_size < self._position:
            self._inode, self._position, self._partial = found.st_ino, 0, b""
        if found.st_size == self._position:
            return []
        return self._read(found.st_size)

    def _read(self, size: int) -> list[str]:
        skipped = size - self._position > MAX_BYTES_PER_POLL
        if skipped:
            self._position, self._partial = size - MAX_BYTES_PER_POLL, b""
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = self._partial + file.read(size - self._position)
        self._position = size
        *complete, self._partial = data.split(b"\n")
        lines = [line.decode(errors="replace").rstrip() for line in complete]
        return ["… (lines left out)", *lines[1:]] if skipped else lines

    def _skip_to_end(self) -> None:
        if self._path.exists():
            found = self._path.stat()
            self._inode, self._position = found.st_ino, found.st_size


class LogPrinter:
    """Prints what the processes log, with the name of the process before each line."""

    def __init__(self, screen: Screen, log_dir: Path, names: Sequence[str]) -> None:
        self._screen = screen
        self._width = max((len(name) for name in names), default=0)
        self._tails = {name: LogTail(log_dir / f"{name}.log") for name in names}
        self._colors = {name: COLORS[index % len(COLORS)] for index, name in enumerate(names)}

    def print_new(self) -> None:
        """Print what was logged since the last call."""
        for name, tail in self._tails.items():
            for line in filter(is_worth_showing, tail.lines()):
                prefix = Text(f"{name:<{self._width}} │ ", style=self._colors[name])
                self._screen.print(prefix + readable(line))


def is_worth_showing(line: str) -> bool:
    """Return whether a line is neither empty nor about a periodic task. The log files keep all lines."""
    return bool(line.strip()) and not ROUTINE.search(line)


def readable(line: str) -> Text:
    """Return a log line for a person: the time of day, the level from WARNING on, and the message."""
    found = LOG_LINE.match(line)
    if found is None:
        return Text.from_ansi(line)
    level = found["level"]
    shown = "" if level in ("INFO", "DEBUG") else f"{level} "
    return Text.assemble((f"{found['time']} ", "dim"), (shown, LEVEL_STYLES.get(level, "")), found["message"])


def last_lines(path: Path, count: int, start: int = 0) -> list[str]:
    """Return the last non-empty lines of a file from byte `start` on; an empty list if there is no file."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            # A file that is shorter than `start` has been rotated.
            file.seek(max(start if start <= size else 0, size - 64 * 1024))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
