"""The script that checks clients of others. The clients themselves are checked by hand, since they are installed."""

from __future__ import annotations

import sys

from scripts.clients.run import CHECKS, CLIENTS, HERE, Row, outcomes, table

PRINTS = """
import os, sys
print("something else")
print('{"check": "chat", "outcome": "ok"}')
print('{"check": "stream", "outcome": "failed: ' + os.environ["BASE_URL"] + " " + sys.argv[1] + '"}')
sys.exit("it broke")
"""


def test_each_client_has_a_file_of_its_own() -> None:
    files = {client.file for client in CLIENTS}
    assert len(files) == len(CLIENTS)
    assert files | {"checks.py", "run.py"} == {path.name for path in HERE.iterdir() if path.is_file()}


def test_a_check_without_an_outcome_failed_for_what_the_client_printed_last() -> None:
    found = outcomes([sys.executable, "-c", PRINTS], "http://server/v1", "small")
    assert found == {"chat": "ok", "stream": "failed: http://server/v1 small", "tools": "failed: it broke"}


def test_the_table_has_a_line_for_each_client_and_model() -> None:
    rows = [Row("one", "1.2", name, {**dict.fromkeys(CHECKS, "ok"), "tools": "failed: why"}) for name in ("a", "b")]
    assert table(rows).splitlines() == [
        "| Client | Model | chat | stream | tools |",
        "| --- | --- | --- | --- | --- |",
        "| one 1.2 | a | ok | ok | failed |",
        "| one 1.2 | b | ok | ok | failed |",
    ]
    assert list(rows[0].failures()) == ["one, a, tools: failed: why"]
