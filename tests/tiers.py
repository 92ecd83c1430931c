"""Which `make` target runs a test, and which tests never run at the same time.

| target | runs |
| --- | --- |
| `make test` | what carries neither mark: unit and integration tests, and the main path end to end |
| `make check` | what is marked `check` |
| `make soak` | what is marked `soak` |
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Where tests/conftest.py notes the tests whose tier is wrong.
MISPLACED = pytest.StashKey[list[str]]()
TIERS = {"check", "soak"}
#: The end-to-end tests of `make test`. Those of every other file are marked, so that a new file is put into a tier.
MAIN_PATH = {"test_main_job.py", "test_tools.py", "test_bad_input.py", "test_readme.py"}
#: Each engine takes all cores, so that two at once would only be slower, and miss deadlines.
ENGINE = "engine"
ENGINE_PATHS = (
    "tests/e2e/",
    "tests/integration/inference/",
    *(
        f"tests/integration/tasks/test_{name}.py"
        for name in (
            "completions", "control_tokens", "many_requests", "publisher", "rag_chat", "reasoning", "server_tools",
            "tool_sets", "tools", "truncation",
        )
    ),
)  # fmt: skip


def misplaced(nodeid: str, marks: Collection[str]) -> str | None:
    """Return what is wrong with the tier of a test with these marks, or None."""
    tiers = TIERS.intersection(marks)
    if len(tiers) > 1:
        return "is marked both check and soak: choose one"
    folder, _, name = _path(nodeid).rpartition("/")
    if folder == "tests/e2e" and not tiers and name not in MAIN_PATH:
        return "has no tier: mark it check or soak, or add its file to MAIN_PATH in tests/tiers.py"
    return None


def runs_engine(nodeid: str) -> bool:
    """Return whether a test may run a language model."""
    return nodeid.startswith(ENGINE_PATHS)


class GroupScheduling(LoadScopeScheduling):
    """Runs groups of tests at the same time, and the tests of a group one after the other.

    A file is a group, so that its fixtures are set up once. The tests of all files that run a language model are one.
    """

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of the group."""
        return ENGINE if runs_engine(nodeid) else _path(nodeid)


def encodable(value: Any) -> Any:
    """Return a JSON-like value with a question mark for each lone surrogate in its strings."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {encodable(key): encodable(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(map(encodable, value))
        case _:
            return value


def _path(nodeid: str) -> str:
    return nodeid.partition("::")[0]
