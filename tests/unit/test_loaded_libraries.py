"""What the processes of a worker import: a library that is not used there would only take memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from tests.support import clean_environment
from tests.unit.ingest.support import docx_bytes

ROOT = Path(__file__).resolve().parents[2]
MODELS = {"torch", "transformers", "sentence_transformers", "llama_cpp", "qdrant_edge", "qdrant_client"}
#: What unstructured and openpyxl would import for purposes that nothing here has.
UNUSED_BY_PARSERS = {
    "charset_normalizer", "emoji", "iso639", "langdetect", "nltk", "openpyxl", "pandas", "requests", "scipy", "spacy"
}  # fmt: skip
#: What Celery's own command line would import.
CONSOLES = {"celery.bin.celery", "click_repl", "prompt_toolkit"}


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[[str, set[str]], set[str]]:
    """Return a function that runs code in a new process, and returns those of some modules that are loaded then."""

    def run(code: str, names: set[str]) -> set[str]:
        code = f"import sys; {code}; print(); print(*sorted({names!r} & set(sys.modules)))"
        environment = clean_environment(DATA_DIR=str(tmp_path / "data"))
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, result.stderr
        return set(result.stdout.splitlines()[-1].split())

    return run


def test_parsing_office_files_loads_only_what_reads_them(loaded: Callable[..., set[str]], tmp_path: Path) -> None:
    (tmp_path / "report.docx").write_bytes(docx_bytes(lambda document: document.add_paragraph("About trains.")))
    book = openpyxl.Workbook()
    book.active.append(["trains", 4])
    book.save(tmp_path / "table.xlsx")
    code = (
        "from pathlib import Path; from core.settings import load_settings; "
        "from ingest.pipeline import parse_to_chunks, warm_up; settings = load_settings(); warm_up(settings); "
        f"folder = Path({str(tmp_path)!r}); out = folder / 'chunks'; "
        "[parse_to_chunks(folder / name, name, out, settings) for name in ('report.docx', 'table.xlsx')]"
    )
    assert loaded(code, {*MODELS, *UNUSED_BY_PARSERS, "unstructured"}) == {"unstructured"}


def test_a_worker_loads_no_console_and_no_service_of_another_role(loaded: Callable[..., set[str]]) -> None:
    code = "from tasks.__main__ import main; main(['worker', '--help'], standalone_mode=False)"
    code += "; import tasks.task_functions"
    foreign = {"flower", "fastapi", "unstructured", "tokenizers", "numpy", "llguidance"}
    assert loaded(code, {*CONSOLES, *MODELS, *foreign, "celery.bin.worker"}) == {"celery.bin.worker"}


def test_flower_loads_no_task_and_no_catalog(loaded: Callable[..., set[str]]) -> None:
    code = (
        "from tasks.__main__ import main; main(['flower', '--help'], standalone_mode=False); "
        "from celery import current_app; assert current_app.conf.task_routes; "
        "current_app.loader.import_default_modules()"
    )
    assert loaded(code, {*CONSOLES, *MODELS, "flower.app", "sqlalchemy", "tasks.task_functions"}) == {"flower.app"}
