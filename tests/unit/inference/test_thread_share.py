"""The threads of engines that are busy at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from inference.engine.thread_share import BUSY_SECONDS, LOOK_SECONDS, ThreadShare

#: An engine in a process of its own, since a lock on a byte belongs to a process. It makes a step for each line.
OTHER = """
import sys
from pathlib import Path
from inference.engine.thread_share import ThreadShare
share = ThreadShare(Path(sys.argv[1]), 8, clock=lambda: float(line))
for line in sys.stdin:
    print(share.threads(), flush=True)
"""


class Other:
    """Another engine."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def step(self, now: float) -> int:
        assert self.process.stdin and self.process.stdout
        print(now, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def kill(self) -> None:
        with self.process:
            self.process.kill()


def test_engines_share_the_threads_while_they_are_busy_and_a_killed_one_counts_no_more(tmp_path: Path) -> None:
    path, now = tmp_path / "engines", 100.0
    mine = ThreadShare(path, 8, clock=lambda: now)
    others = [Other(path), Other(path)]
    assert mine.threads() == 8
    assert others[0].step(100.0) == 4
    now = 100.0 + 2 * LOOK_SECONDS
    assert mine.threads() == 4
    assert others[1].step(now) == 2, "a third of 8"
    now += BUSY_SECONDS - 1.5 * LOOK_SECONDS
    assert mine.threads() == 4, "only one of the others has made a step in this time"
    for other in others:
        other.kill()
    now += BUSY_SECONDS
    assert mine.threads() == 8
    after = Other(path)
    assert after.step(now) == 4, "it has the entry of one that was killed"
    after.kill()


def test_there_is_at_least_one_thread_and_a_folder_that_is_missing_changes_nothing(tmp_path: Path) -> None:
    share = ThreadShare(tmp_path / "missing" / "engines", 1)
    assert share.threads() == 1
