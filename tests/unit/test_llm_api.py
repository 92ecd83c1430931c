"""The import name `llm_api`: the same registry, the same start, and nothing heavy behind it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llm_api
import llm_api.main
from core.settings import load_settings
from inference import functions
from inference.functions import function_registry, load_functions
from llm_api.core.functions import registry as face
from tests.support import ROOT, shadow_packages

STOCK = '''
from {module} import function_registry

@function_registry.register
def {name}(article: str) -> int:
    """Pieces in stock.

    Args:
        article: Its number.
    """
    return 17
'''


def run(*arguments: str, folder: Path = ROOT) -> str:
    """Return what Python prints when it is run with these arguments."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Make a folder of functions; what is registered from it is unregistered afterwards."""
    path_before = list(sys.path)
    yield tmp_path
    sys.path[:] = path_before
    for registered in map(function_registry.get, function_registry.names):
        if registered and not registered.source.startswith("inference.functions.builtin"):
            function_registry.unregister_source(registered.source)


def test_both_imports_give_the_one_registry() -> None:
    assert llm_api.function_registry is function_registry
    assert face.function_registry is function_registry


@pytest.mark.parametrize("name", face.__all__)
def test_a_name_is_that_of_the_package_behind_it(name: str) -> None:
    assert getattr(face, name) is getattr(functions, name)


def test_functions_registered_by_either_import_are_callable(folder: Path) -> None:
    modules = {"stock_one": "llm_api", "stock_two": "llm_api.core.functions.registry"}
    for name, module in modules.items():
        (folder / f"{name}.py").write_text(STOCK.format(module=module, name=name))

    report = load_functions(load_settings(_env_file=None, functions_dir=folder))

    assert report.failures == []
    for name in modules:
        assert function_registry.call(name, '{"article": "A-1"}').result == 17


def test_the_module_starts_what_llm_api_up_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    def up(*arguments: Any) -> int:
        started.append(arguments)
        return 7

    monkeypatch.setattr("cli.up.up", up)
    monkeypatch.setattr(sys, "argv", ["main.py"])
    with pytest.raises(SystemExit) as end:
        llm_api.main.main()
    assert len(started) == 1
    assert end.value.code == 7


def test_the_module_prints_the_help_of_llm_api_up() -> None:
    printed = run("-m", "llm_api.main", "--help")
    assert "llm-api up" in printed
    assert printed == run("-c", "from cli.main import app; app(['up', '--help'], prog_name='llm-api')")


def test_the_import_is_cheap() -> None:
    heavy = {"torch", "llama_cpp", "transformers", "celery", "redis", "fastapi", "sqlalchemy", "numpy"}
    assert run("-c", f"import sys, llm_api; print(*sorted({heavy!r} & set(sys.modules)))").split() == []


def test_processes_take_our_packages_and_not_the_working_directorys(tmp_path: Path) -> None:
    shadow_packages(tmp_path)
    assert "Start worker instance" in run("-P", "-m", "tasks", "worker", "--help", folder=tmp_path)
