"""The structure of the code: the import contracts in pyproject.toml, and the limit on a file's length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("api", "cli", "core", "inference", "ingest", "tasks", "watchers")
MAX_LINES = 400


def test_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("module", ["api.app", "watchers.service", "cli.main", "cli.up", "cli.status"])
def test_light_processes_load_no_heavy_library(module: str) -> None:
    heavy = {"torch", "transformers", "llama_cpp", "unstructured", "qdrant_client", "qdrant_edge", "pandas", "spacy"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert not result.stdout.split(), f"{module} loads {result.stdout}"


def test_files_stay_short() -> None:
    files = [path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*.py")]
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert not {name: lines for name, lines in long.items() if lines > MAX_LINES}
