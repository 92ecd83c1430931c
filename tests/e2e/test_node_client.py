"""OpenAI's npm package: chat, streaming, tools, embeddings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import npm
from tests.support import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.check]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the script and the installed package of its lock file."""
    return npm.install(Path(__file__).with_name("node"), tmp_path_factory.mktemp("node"))


def test_the_npm_package(stack: Stack, project: Path) -> None:
    result = npm.run("client.mjs", directory=project, BASE_URL=stack.base_url)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("ok ") == 7
