"""Every example of the README and of docs/ runs as it is written there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.e2e.documents import write_docx, write_pdf
from tests.support import ROOT, Stack

pytestmark = [pytest.mark.e2e]

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Blocks that are not run here, by how they begin, and the reason.
NOT_RUN = {
    "make run ": "installs, which takes ten minutes; the tests' stack is the same",
    "FUNCTIONS_DIR=": "`make run` with a setting, see above; tests/unit/functions loads the functions of a folder",
    "HOST=0.0.0.0 ": "`make run` with settings; would open the tests' machine to its network",
    "MODEL_PATH=": "needs a model that is not here, and one that is downloaded from the hub",
    "EMBEDDING_MODEL_NAME=": "downloads gigabytes from the hub",
    "EMBEDDING_MODELS=": "the same; tests/e2e/test_models_of_collections.py does it with a small model",
    "mkdir -p inbox": "builds the containers: tests/e2e/test_containers.py does so where there is a Docker engine",
    "docker-compose exec ": "needs the containers",
    "celery -A tasks ": "starts the same workers as this stack; a test below compares the commands",
    "apt-get ": "changes the machine",
    "WATCH_DIRS=": "a line of settings",
    "WATCH_URLS=": "the same; tests/integration/watchers/test_web_sources.py watches pages",
    "llm-api backup ": "tests/e2e/test_backup_and_upgrade.py does it; ends the stack",
    'curl -H "Authorization: Bearer ADMIN-KEY"': "starts another stack; test_monitoring.py asks both ports",
    "llm-api rollback ": "ends the stack; tests/unit/cli/test_rollback.py does it",
    "cd data && rm -f catalog": "replaces the catalog of the tests' stack",
    "llm-api keys ": "closes the stack to the other examples; tests/unit/cli/test_key_commands.py does it",
    "curl localhost:8000/v1/completions": "needs a model that fills in the middle; the starter refuses `suffix`",
    "curl localhost:8000/v1/rerank": "needs a RERANK_MODEL; tests/integration/api/test_rerank.py does it",
    ".venv/bin/llm-api models pull ": "downloads from the hub; tests/e2e/test_several_models.py has a local one",
    "llm-api models ": "downloads from the hub, or names models that are not here; tests/unit/cli has such tests",
    "llm-api watch ": "confirms the deletion of an example folder",
    " watched folders": "a drawing",
    "{": "JSON that is part of a request",
}


class Example(NamedTuple):
    """A fenced block. `location` is the file and the line."""

    location: str
    language: str
    text: str


def examples() -> list[Example]:
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text()
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 1
            found.append(Example(f"{path.relative_to(ROOT)}:{line}", block[1], block[2]))
    return found


def reason_not_to_run(example: Example) -> str | None:
    return next((why for start, why in NOT_RUN.items() if example.text.startswith(start)), None)


RUN = [example for example in examples() if reason_not_to_run(example) is None]


@pytest.fixture(scope="module")
def folder(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder in which the examples run, with the files that they name and a curl that fails on errors."""
    folder = tmp_path_factory.mktemp("readme")
    write_docx(folder / "warranty.docx", "The warranty lasts four years.")
    write_pdf(folder / "manual.pdf", "Press the red button twice.")
    (folder / "prices.csv").write_text("article,price\nlamp,12\n")
    (folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\nmax-time = 120\n")
    (folder / "inbox").symlink_to(stack.inbox)
    yield folder
    # Jobs that the examples left running must not run beside other tests.
    for job in httpx.get(f"{stack.base_url}/v1/jobs", timeout=20).json()["data"]:
        httpx.delete(f"{stack.base_url}/v1/jobs/{job['id']}", timeout=20).raise_for_status()


def test_each_exception_is_needed() -> None:
    texts = [example.text for example in examples()]
    assert [start for start in NOT_RUN if not any(text.startswith(start) for text in texts)] == []
    assert len(RUN) >= 15


def test_workers_on_further_machines_are_started_with_the_same_commands(stack: Stack) -> None:
    (text,) = [example.text for example in examples() if example.text.startswith("celery -A tasks ")]
    written = [line.partition("#")[0].split() for line in text.splitlines() if " worker " in line]
    running = [process.cmdline() for process in stack.processes()]

    assert {queues_and_pool(command) for command in written} == {
        queues_and_pool(command) for command in running if "worker" in command
    }


def queues_and_pool(command: list[str]) -> tuple[str, str]:
    command = command[command.index("worker") :]  # Python has an option -P too
    return command[command.index("-Q") + 1], command[command.index("-P") + 1]


@pytest.mark.check
@pytest.mark.parametrize("example", RUN, ids=[example.location for example in RUN])
def test_an_example_runs(stack: Stack, folder: Path, example: Example) -> None:
    text = example.text.replace("localhost:8000", f"localhost:{stack.port}")
    if example.language == "python":
        command = [sys.executable, "-c", text]
    else:
        assert "curl" in text, "this is a new kind of example: run it, or add the reason to NOT_RUN"
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        command = ["bash", "-euo", "pipefail", "-c", text]
    environment = {**os.environ, "CURL_HOME": str(folder), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=140)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"error": {' not in ran.stdout
