from __future__ import annotations

import io
from pathlib import Path

from cli.logs import LogPrinter, LogTail, is_worth_showing, last_lines, readable
from cli.screen import Screen


def test_tail_returns_complete_lines_that_were_written_after_its_start(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_text("old\n")
    tail = LogTail(path)
    with path.open("a") as log:
        log.write("one\ntw")
        log.flush()
        assert tail.lines() == ["one"]
        log.write("o\n")
    assert tail.lines() == ["two"]
    assert tail.lines() == []


def test_tail_follows_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_text("old\n")
    tail = LogTail(path)
    path.rename(tmp_path / "api.log.1")
    path.write_text("new\n")
    assert tail.lines() == ["new"]


def test_tail_waits_for_a_file_that_does_not_exist_yet(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "api.log")
    assert tail.lines() == []
    (tmp_path / "api.log").write_text("first\n")
    assert tail.lines() == ["first"]


def test_tail_leaves_out_lines_if_there_are_too_many(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    tail = LogTail(path)
    path.write_text("line of a loop\n" * 50_000)
    lines = tail.lines()
    assert lines[0] == "… (lines left out)" and lines[-1] == "line of a loop" and len(lines) < 20_000


def test_printer_names_the_process_of_each_line(tmp_path: Path) -> None:
    output = io.StringIO()
    printer = LogPrinter(Screen(output), tmp_path, ["api", "inference"])
    (tmp_path / "api.log").write_text("[bold]not markup[/]\n")
    printer.print_new()
    assert output.getvalue() == "api       │ [bold]not markup[/]\n"


def test_a_missing_file_has_no_last_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none.log", 5) == []
    (tmp_path / "some.log").write_text("a\n\nb\nc\n")
    assert last_lines(tmp_path / "some.log", 2) == ["b", "c"]


def test_screen_survives_a_closed_pipe() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    screen = Screen(Closed())
    screen.print("one", "two")


def test_lines_are_shortened_for_a_person() -> None:
    line = "2026-11-22 18:26:56,876 WARNING celery.worker.strategy: Task [x] is late"
    assert readable(line).plain == "18:26:56 WARNING Task [x] is late"
    assert readable("2026-11-22 18:26:56,876 INFO tasks: done").plain == "18:26:56 done"
    assert readable("Traceback (most recent call last):").plain == "Traceback (most recent call last):"


def test_periodic_tasks_are_not_shown() -> None:
    start = "2026-11-22 18:26:50,847 INFO celery.x:"
    assert not is_worth_showing(f"{start} Scheduler: Sending due task expire (maintenance.expire)")
    assert not is_worth_showing(f"{start} Task maintenance.expire[3-5] succeeded in 0.003s: None")
    assert is_worth_showing(f"{start} Task maintenance.expire[3-5] raised unexpected: KeyError()")
    assert is_worth_showing(f"{start} Task inference.generate[3-5] received")
