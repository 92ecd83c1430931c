"""Which `make` target runs a test, and which tests never run at the same time.

| target | runs |
| --- | --- |
| `make test` | what carries neither mark: unit and integration tests, and the main path end to end |
| `make check` | what is marked `check` |
| `make soak` | what is marked `soak` |
"""

from __future__ import annotations

from collections.abc import Collection

import pytest

#: Where tests/conftest.py notes the tests whose tier is wrong.
MISPLACED = pytest.StashKey[list[str]]()
TIERS = {"check", "soak"}
#: The end-to-end tests of `make test`. Those of every other file are marked, so that a new file is put into a tier.
MAIN_PATH = {"test_main_job.py", "test_tools.py", "test_bad_input.py", "test_readme.py"}
#: llama.cpp's threads wait actively for each other: two engines on the same cores take many times as long.
ENGINE = "engine"
ENGINE_FOLDERS = ("tests/e2e/", "tests/integration/inference/", "tests/integration/tasks/")


def misplaced(path: str, marks: Collection[str]) -> str | None:
    """Return what is wrong with the tier of a test in this file with these marks, or None."""
    tiers = TIERS.intersection(marks)
    if len(tiers) > 1:
        return "is marked both check and soak: choose one"
    folder, _, name = path.rpartition("/")
    if folder == "tests/e2e" and not tiers and name not in MAIN_PATH:
        return "has no tier: mark it check or soak, or add its file to MAIN_PATH in tests/tiers.py"
    return None


def group_of(path: str) -> str:
    """Return the name of the group of a test in this file: the tests of a group run one after the other.

    A file is a group, so that its fixtures are set up once, and all that run a language model are one.
    """
    return ENGINE if path.startswith(ENGINE_FOLDERS) else path
