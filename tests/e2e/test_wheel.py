"""The wheel: every file of the packages is in it, and installed outside of the checkout it does the main job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.e2e.documents import settled, write_docx
from tests.support import ROOT, Stack, shadow_packages
from tests.test_architecture import PACKAGES

pytestmark = [pytest.mark.check, pytest.mark.e2e, pytest.mark.timeout(600)]

#: What the packages hold besides modules.
TEMPLATES = "inference/text/templates/"
CONSOLE = ROOT / "api" / "console"
DATA_FILES = {
    *(
        str(path.relative_to(ROOT))
        for path in CONSOLE.rglob("*")
        if path.suffix in {".html", ".css", ".js", ".svg", ".md"}
    ),
    "core/catalog/migrations/script.py.mako",
    "core/models/recommended.toml",
    "ingest/parsers/pandoc/pandoc.html",
    f"{TEMPLATES}llama2.jinja",
}
WARRANTY = "The warranty of the Aurora coffee machine lasts four years and covers the pump and the motor."


class InstalledStack(Stack):
    """The stack as the wheel's environment starts it, in a folder that has nothing to do with the checkout."""

    def __init__(self, directory: Path, *start: Path | str) -> None:
        directory.mkdir()
        super().__init__(directory)
        self._start = list(map(str, start))
        del self.environment["PYTHONPATH"]

    def up_command(self) -> list[str]:
        return self._start


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, from a copy: setuptools leaves a folder `build` behind, and packs what an old one holds."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("celeryconfig.py", "LICENSE", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", built, source)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a virtual environment with the wheel in it.

    It finds the dependencies in the environment of the tests: a folder that a .pth file names is searched, but its own
    .pth files, which make the checkout importable, are not read.
    """
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    (site_packages(environment) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "--no-deps", wheel)
    return environment


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    held = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert packed == held | {"celeryconfig.py"}
    data = {name for name in packed if not name.endswith(".py")}
    assert data >= DATA_FILES
    assert all(name.startswith(TEMPLATES) and name.endswith(".jinja") for name in data - DATA_FILES)


def test_an_installed_wheel_answers_about_a_dropped_file(environment: Path, tmp_path: Path) -> None:
    # Given a folder whose modules have the names of our packages
    stack = InstalledStack(tmp_path / "project", environment / "bin" / "llm-api", "up")
    shadow_packages(stack.directory)
    before = installed_files(environment)
    # When the stack is started there and a file dropped
    with stack:
        write_docx(stack.inbox / "warranty.docx", WARRANTY)
        # Then it answers from it
        assert_it_answers(stack, environment)
    # And everything it keeps is in that folder
    assert (stack.directory / "data" / "catalog.sqlite3").exists()
    assert installed_files(environment) == before


def test_the_module_starts_the_same_stack(environment: Path, tmp_path: Path) -> None:
    with InstalledStack(tmp_path / "folder", environment / "bin" / "python", "-m", "llm_api.main") as stack:
        (stack.inbox / "warranty.txt").write_text(WARRANTY)
        assert_it_answers(stack, environment)


def assert_it_answers(stack: InstalledStack, environment: Path) -> None:
    """Check that a question is answered from the one dropped file, by processes that import the wheel's packages."""
    with httpx.Client(base_url=stack.base_url, timeout=60) as http:
        (path,) = stack.inbox.iterdir()
        assert settled(http, path.name)["status"] == "completed"
        answer = http.post("/v1/rag/chat", json={"query": "How long is the warranty of the coffee machine?"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["answer"].strip()
    source = answer.json()["sources"][0]
    assert source["filename"] == path.name and "four years" in source["text"]
    assert {process.environ()["PYTHONPATH"] for process in stack.processes()} == {str(site_packages(environment))}


def site_packages(environment: Path) -> Path:
    """Return the folder in which an environment has its packages."""
    (folder,) = environment.resolve().glob("lib/python*/site-packages")
    return folder


def installed_files(environment: Path) -> set[Path]:
    """Return the files of an environment but for compiled modules."""
    return {path for path in environment.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def run(*command: Path | str) -> None:
    """Run a command outside of the checkout.

    Raises:
        AssertionError: It failed; with what it printed.
    """
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd="/", env=clean, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
