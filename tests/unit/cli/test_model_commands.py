"""`llm-api models`: what the commands print about the models on this machine, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli import model_commands
from cli.main import app
from core.models.recommended import RecommendedModel
from core.settings import load_settings
from tests.fakes.hub import Hub, running_hub
from tests.gguf_files import tiny_model

REPO, FILE = "org/tiny-GGUF", "Tiny-Q4_K_M.gguf"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings = load_settings(_env_file=None, data_dir=tmp_path, min_free_bytes=0)
    monkeypatch.setattr(model_commands, "get_settings", lambda: settings)
    return settings.models_path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    content = tiny_model(tmp_path / "source" / FILE, weights=25_000).read_bytes()
    with running_hub({REPO: {FILE: content}}) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        yield hub


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


def test_a_model_is_pulled_listed_shown_and_removed(hub: Hub, folder: Path) -> None:
    pulled = run("pull", REPO)
    assert pulled.exit_code == 0 and f"Tiny-Q4_K_M is in {folder / REPO}" in pulled.output
    listed = run("list").output
    assert "Tiny-Q4_K_M" in listed and REPO in listed and "SmolLM2-135M-Instruct" in listed
    shown = run("show", "Tiny-Q4_K_M").output
    assert "131,072" in shown and "llama" in shown and "at least" in shown
    assert "removed Tiny-Q4_K_M" in run("rm", "Tiny-Q4_K_M").output
    assert "Tiny-Q4_K_M" not in run("list").output


def test_files_that_cannot_be_used_are_named(folder: Path) -> None:
    path = tiny_model(folder / "half.gguf")
    path.write_bytes(path.read_bytes()[:-10])
    listed = run("list").output
    assert "unusable" in listed and "half.gguf" in listed and "cut off" in listed
    shown = run("show", "half")
    assert shown.exit_code == 1 and "cut off" in shown.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rm", "../x"), "is not the name of a model"),
        (("rm", "none"), "There is no model 'none'"),
        (("rm", "SmolLM2-135M-Instruct"), "The settings name"),
        (("show", "none"), "There is no model 'none'"),
        (("pull", "none"), "write OWNER/REPOSITORY"),
    ],
)
def test_a_wrong_name_is_a_message_and_status_1(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1 and message in result.output and "Traceback" not in result.output


def test_what_is_recommended_is_pulled(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    model = RecommendedModel(REPO, FILE, 100_000, 1, "MIT", "Tests", on_cpu=True)
    monkeypatch.setattr(model_commands, "recommended_models", lambda: [model])
    listed = run("recommended").output
    assert f"{REPO}:{FILE}" in listed and "best" in listed and "MIT" in listed
    pulled = run("pull", "recommended")
    assert pulled.exit_code == 0 and "about 0 MB, MIT. Tests." in pulled.output


def test_an_interrupted_pull_goes_on(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("core.models.download.Downloader._check", interrupt)
        interrupted = run("pull", REPO)
    assert interrupted.exit_code == model_commands.INTERRUPTED and "pull it again to go on" in interrupted.output
    hub.sent.clear()
    assert run("pull", REPO).exit_code == 0
    assert hub.sent[0][1] > 0
