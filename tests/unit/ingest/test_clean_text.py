"""What nobody sees is removed from text: terminal sequences, overwritten lines, and invisible characters."""

from __future__ import annotations

import json

import pytest

from ingest.clean_text import clean_text
from tests.unit.ingest.support import Read


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("10:00 \x1b[31mE4711\x1b[0m \x1b[1;33mpump\x1b[0mhouse\r\n", "10:00 E4711 pumphouse\n"),
        ("\x1b]0;title\x07\x1b[2K\x1b[38;5;196mE4712\x1b[0m ok", "E4712 ok"),
        ("\x1b]8;;https://example.org\x1b\\a link\x1b]8;;\x1b\\ here", "a link here"),
        ("N\bNA\bAM\bME\bE and _\bx", "NAME and x"),
        ("|\b/\b-\bdone", "done"),
        ("50%\b\b\b75%", "75%"),
        ("\r".join(f"Downloading {n}% |{'#' * (n // 10)}|" for n in range(101)) + "\nend", None),
        ("\r".join(f"Epoch {n} loss 0.{n}" for n in range(9)) + "\nend", "Epoch 8 loss 0.8\nend"),
        ("".join(f"\r\x1b[K{n} of 3" for n in range(4)) + "\n", "3 of 3\n"),
        ("pull a 1\npull b 1\n\x1b[2A\x1b[2Kpull a 2\n\x1b[2Kpull b 2\n", "pull a 2\npull b 2\n"),
        ("one line\ranother line", "one line\nanother line"),
        ("name,count\ra,1\ra,2\r\n", "name,count\na,1\na,2\n"),
        ("one\r\r\ntwo\r\n", "one\ntwo\n"),
        ("item 1\ritem 2\ritem 3", "item 1\nitem 2\nitem 3"),
        ("a\x0bb\x1cc\u2028d\x85e\x9ff", "a\nb c\nd\nef"),
        ("Ge\u00adwähr\u00adleistung, data\u2060base, user\u200cname, AX\u200b9200", None),
        ("Gewähr\u00ad\n  leistung", "Gewährleistung"),
        ("می\u200cخواهم \U0001f469\u200d\U0001f680", "می\u200cخواهم \U0001f469\u200d\U0001f680"),
    ],
)
def test_text_is_as_it_is_shown(printed: str, shown: str | None) -> None:
    if printed.startswith("Downloading"):
        shown = f"Downloading 100% |{'#' * 10}|\nend"
    assert clean_text(printed) == (shown or "Gewährleistung, database, username, AX9200")


@pytest.mark.parametrize("name", ["run.log", "notes.txt", "notes.md", "page.html", "data.csv", "build"])
def test_terminal_colours_leave_no_trace_in_any_text_file(read: Read, name: str) -> None:
    line = "\x1b[31mE4711\x1b[0m pump"
    text = f"<pre>{line}</pre>" if name.endswith("html") else f"{line}\n"
    assert read(name, text.encode()).text.strip() == "E4711 pump"


def test_a_progress_display_in_a_notebook_is_read_as_it_ended(read: Read) -> None:
    updates = "".join(f"step {n}, {n / 3000:.0%}\r" for n in range(3001))
    cell = {"cell_type": "code", "source": "run()", "outputs": [{"output_type": "stream", "text": updates}]}
    assert read("run.ipynb", json.dumps({"nbformat": 4, "cells": [cell]}).encode()).text == "run()\n\nstep 3000, 100%"
