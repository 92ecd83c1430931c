"""The structure of the code: import contracts, the length of files, and the words of names and docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.tiers import MISPLACED, runs_engine

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("api", "cli", "core", "inference", "ingest", "llm_api", "tasks", "watchers")
MAX_LINES = 400


def test_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stdout + result.stderr


def test_light_processes_load_no_heavy_library() -> None:
    heavy = {"torch", "transformers", "llama_cpp", "unstructured", "qdrant_client", "qdrant_edge", "pandas", "spacy"}
    lines = ["import sys"]
    for module in ("watchers.service", "cli.main", "cli.up", "cli.status", "api.app"):
        lines += [f"import {module}", f"print('{module}', *sorted({heavy!r} & set(sys.modules)))"]
    result = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr
    assert not [line for line in result.stdout.splitlines() if " " in line], "the first line names what loads it"


def test_files_stay_short() -> None:
    files = [path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*.py")]
    files += [path for ending in ("js", "css", "html") for path in (ROOT / "api" / "console").rglob(f"*.{ending}")]
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert not {name: lines for name, lines in long.items() if lines > MAX_LINES}


def test_each_test_is_in_one_tier(request: pytest.FixtureRequest) -> None:
    assert request.config.stash[MISPLACED] == []


def test_tests_that_generate_do_not_run_beside_each_other() -> None:
    files = [path.as_posix() for path, tree in _trees() if _imports(tree, "tests.integration.tasks.generating")]
    assert files
    assert [path for path in files if not path.endswith("conftest.py") and not runs_engine(path)] == []


#: Names that stood for something else, or for nothing that a reader could guess, with the word to use instead.
RENAMED = {
    "flight": "sequence run",
    "talk": "conversation",
    "asides": "side generations",
    "desk": "runner",
    "told": "emitted, reported",
    "untold": "pending",
    "patience": "retry",
    "strangers": "orphaned",
    "kept_out": "ignored",
    "given_back": "released",
    "give_back": "release",
}
#: The words of an identifier: `_giveBack_all` has `_give`, `Back`, `all`.
_RENAMED_NAME = re.compile("|".join(rf"(?<![a-z]){word}(?![a-z])" for word in RENAMED))


def test_names_are_those_of_the_field() -> None:
    found = [
        f"{path}: {name}"
        for path, tree in _trees()
        if "migrations" not in path.parts
        for name in set(map(_name, ast.walk(tree)))
        if name and _RENAMED_NAME.search(_snake_case(name))
    ]
    assert not found


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    """Check what ruff's D401 does not see: a sentence without a verb at its beginning."""
    nouns = re.compile(
        r"""(The|An?|Whether|What|How|Where|Which|Who|All|Those|None|Each|Every|No|Its|One|When|Why)\b|[`"]"""
    )
    found = [
        f"{path}:{node.lineno}"
        for path, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_property_or_fixture(node)
        if nouns.match(ast.get_docstring(node) or "")
    ]
    assert not found


@cache
def _trees() -> list[tuple[Path, ast.Module]]:
    files = (
        path
        for package in (*PACKAGES, "tests", "benchmarks", "docker", "scripts")
        for path in (ROOT / package).rglob("*.py")
    )
    return [(path.relative_to(ROOT), ast.parse(path.read_text())) for path in files]


def _imports(tree: ast.Module, module: str) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.module == module for node in tree.body)


def _name(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.alias(name=name):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case _:
            return None


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _is_property_or_fixture(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(re.search("property|fixture", ast.unparse(decorator)) for decorator in node.decorator_list)
