"""Stubs for modules that a library imports without need."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.stub_modules import replace_module, stubbed

REAL = "fractions_of_a_test"


@pytest.fixture(autouse=True)
def real_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / f"{REAL}.py").write_text("def halve(number, by=2):\n    return number / by\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop(REAL, None)


def test_a_function_of_a_stub_imports_the_real_module_when_it_is_called() -> None:
    with stubbed(REAL):
        from fractions_of_a_test import halve  # type: ignore[import-not-found]
    assert REAL not in sys.modules
    assert halve(10) == 5.0 and halve(12, by=3) == 4.0
    assert REAL in sys.modules


def test_a_missing_module_cannot_be_imported_until_the_block_ends() -> None:
    with stubbed(missing=(REAL,)), pytest.raises(ImportError):
        import fractions_of_a_test  # type: ignore[import-not-found]
    import fractions_of_a_test

    assert fractions_of_a_test.halve(2) == 1.0


def test_a_module_that_is_loaded_stays() -> None:
    import fractions_of_a_test  # type: ignore[import-not-found]

    with stubbed(REAL, missing=("json",)):
        import json
    replace_module(REAL, {"halve": None})
    assert sys.modules[REAL] is fractions_of_a_test and json.loads("1") == 1
    assert fractions_of_a_test.halve(4) == 2.0


def test_a_replaced_module_is_the_real_one_as_soon_as_it_lacks_something() -> None:
    replace_module(REAL, {"ten": 10})
    from fractions_of_a_test import ten  # type: ignore[import-not-found]

    assert ten == 10 and "halve" not in vars(sys.modules[REAL])
    from fractions_of_a_test import halve

    assert halve(ten) == 5.0 and sys.modules[REAL].__file__
