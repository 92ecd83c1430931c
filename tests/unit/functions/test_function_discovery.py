"""Finding functions; a broken file does not affect the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from core.settings import Settings, load_settings
from inference.functions import discovery, function_registry, load_functions

BUILTIN = {
    "add_to_date",
    "calculate",
    "convert_time",
    "days_between",
    "get_current_time",
    "get_current_weather",
    "get_weather_forecast",
    "search_documents",
}
STOCK = '''
from __future__ import annotations
from inference.functions import function_registry
from shop_of_the_test import PIECES

@function_registry.register
def stock_level(article: str) -> int:
    """Pieces in stock.

    Args:
        article: Its number.
    """
    return PIECES
'''
BROKEN = '''
from inference.functions import function_registry

@function_registry.register
def half_there() -> int:
    """Registered before the file breaks."""
    return 1

raise RuntimeError("no such device")
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield an empty folder of functions, and unregister its functions afterwards."""
    path_before = list(sys.path)
    yield tmp_path
    sys.path[:] = path_before
    for name in function_registry.names:
        source = function_registry.get(name)
        if source and not source.source.startswith("inference.functions.builtin"):
            function_registry.unregister_source(source.source)


def settings(folder: Path | None = None) -> Settings:
    return load_settings(_env_file=None, functions_dir=folder, function_timeout_seconds=7)


def test_the_builtin_functions_are_there_without_configuration() -> None:
    report = load_functions(settings())
    assert set(report.names) >= BUILTIN
    assert report.failures == []
    assert function_registry.timeout_seconds == 7


def test_every_builtin_function_and_argument_has_a_description() -> None:
    load_functions(settings())
    for schema in function_registry.schemas(BUILTIN):
        function = schema["function"]
        assert len(function["description"]) > 20, function["name"]
        for name, parameter in function["parameters"]["properties"].items():
            assert parameter.get("description"), f"{function['name']}.{name} has no description"


def test_a_users_file_is_loaded_with_its_helpers(folder: Path) -> None:
    (folder / "stock.py").write_text(STOCK)
    (folder / "shop_of_the_test.py").write_text("PIECES = 17\n")
    report = load_functions(settings(folder))
    assert report.failures == []
    assert function_registry.call("stock_level", '{"article": "A-1"}').result == 17


def test_a_broken_file_is_named_and_the_rest_load(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "a_broken.py").write_text(BROKEN)
    (folder / "b_syntax.py").write_text("def (:\n")
    (folder / "c_exit.py").write_text("import sys\nsys.exit(1)\n")
    (folder / "d_taken.py").write_text(STOCK.replace("stock_level", "calculate"))
    (folder / "shop_of_the_test.py").write_text("PIECES = 17\n")
    (folder / "stock.py").write_text(STOCK)
    report = load_functions(settings(folder))
    reasons = {Path(failure.source).name: failure.reason for failure in report.failures}
    assert set(reasons) == {"a_broken.py", "b_syntax.py", "c_exit.py", "d_taken.py"}
    assert reasons["a_broken.py"] == "RuntimeError: no such device"
    assert "inference.functions.builtin.calculator" in reasons["d_taken.py"]
    assert "stock_level" in report.names
    assert "half_there" not in report.names, "either all functions of a file are registered or none"
    assert str(folder / "a_broken.py") in caplog.text


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    (failure,) = load_functions(settings(tmp_path / "nowhere")).failures
    assert failure.reason == "FUNCTIONS_DIR is not a folder"


def test_packages_bring_functions_through_their_entry_points(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "package_of_the_test.py").write_text(
        STOCK.replace("from shop_of_the_test import PIECES", "PIECES = 3").replace("stock_level", "from_a_package")
    )
    monkeypatch.syspath_prepend(folder)
    group = discovery.ENTRY_POINT_GROUP
    found = EntryPoints(
        [EntryPoint("good", "package_of_the_test", group), EntryPoint("gone", "not_installed_anywhere", group)]
    )
    monkeypatch.setattr(discovery, "entry_points", lambda group: found.select(group=group))
    report = load_functions(settings())
    assert "from_a_package" in report.names
    (failure,) = report.failures
    assert failure.source == "package not_installed_anywhere"
