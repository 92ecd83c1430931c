"""The types and the style of the console's scripts and styles. What is checked: tests/javascript."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import npm
from tests.support import ROOT

pytestmark = pytest.mark.check

CONFIGURATION = ROOT / "tests" / "javascript"
STATIC = ROOT / "api" / "console" / "static"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return npm.install(CONFIGURATION, tmp_path_factory.mktemp("javascript")) / "node_modules"


def test_scripts_have_sound_types(packages: Path) -> None:
    result = npm.run(packages / "typescript" / "bin" / "tsc", "--project", CONFIGURATION, directory=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_scripts_and_styles_keep_to_the_rules_and_the_format(packages: Path) -> None:
    options = ["check", f"--config-path={CONFIGURATION}", "--error-on-warnings", "--colors=off"]
    result = npm.run(packages / "@biomejs" / "biome" / "bin" / "biome", *options, STATIC, directory=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
