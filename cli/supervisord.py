"""supervisord, with logs that a full disk cannot stop: `python -m cli.supervisord` takes supervisord's arguments.

supervisord itself ends when a line of a log cannot be written and standard error is on the same disk, and gives up a
process whose log it cannot open. Here such lines are dropped, and the log goes on once there is room.
"""

from __future__ import annotations

import os
from typing import Any

from supervisor import loggers
from supervisor.supervisord import main


class DroppingLogFile(loggers.RotatingFileHandler):  # type: ignore[misc]
    """A log file that drops what it cannot write."""

    def __init__(self, filename: str, *args: Any, **options: Any) -> None:
        try:
            super().__init__(filename, *args, **options)
        except OSError:
            # Its lines are dropped until the file can be opened.
            super().__init__(os.devnull, *args, **options)
            self.stream.close()
            self.baseFilename = filename

    def emit(self, record: Any) -> None:
        try:
            # Not only a file that could not be opened is closed, but also one whose rotation has failed.
            if self.stream.closed:
                self.closed = True
                self.reopen()
            super().emit(record)
        except OSError:
            return

    def handleError(self) -> None:
        """Drop the line. The inherited method prints a traceback, which ends supervisord if that fails too."""


loggers.RotatingFileHandler = DroppingLogFile

if __name__ == "__main__":
    main()
