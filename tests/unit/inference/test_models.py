"""The choice of the model file, and the errors if it is missing or unsuitable."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.models import files as model_files
from core.settings import Settings, load_settings
from inference.engine import model_files as models
from inference.engine.model_files import resolve_model
from tests.gguf_files import tiny_model


def settings_with(**values: object) -> Settings:
    return load_settings(_env_file=None, **values)


def test_the_starter_model_comes_from_its_package() -> None:
    found = resolve_model(settings_with())
    assert found.is_starter
    assert found.name == "SmolLM2-135M-Instruct"
    assert found.path.read_bytes()[:4] == b"GGUF"


def test_a_path_wins_and_the_alias_names_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    tiny_model(path)
    assert resolve_model(settings_with(model_path=path)).name == "mine"
    assert resolve_model(settings_with(model_path=path, model_alias="gpt-x")).name == "gpt-x"
    assert not resolve_model(settings_with(model_path=path)).is_starter


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        resolve_model(settings_with(model_path=tmp_path / "gone.gguf"))


def test_a_file_in_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.gguf"
    path.write_text("<html>not found</html>")
    with pytest.raises(ConfigurationError, match="not a GGUF file"):
        resolve_model(settings_with(model_path=path))


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "half.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigurationError, match=r"half\.gguf.*: .*cut off: it has [\d,]+ of [\d,]+ bytes"):
        resolve_model(settings_with(model_path=path))


def test_a_model_larger_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.gguf"
    tiny_model(path, weights=1000)
    monkeypatch.setattr(models, "memory_limit_bytes", lambda: 1000)
    with pytest.raises(ConfigurationError, match="memory"):
        resolve_model(settings_with(model_path=path))


def test_without_a_network_the_hub_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(**_: object) -> str:
        raise LocalEntryNotFoundError("cannot reach the hub")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(ConfigurationError, match=r"MODEL_REPO_ID=a/b .*cannot be reached"):
        resolve_model(settings_with(model_repo_id="a/b", model_filename="c.gguf"))


def test_without_the_starter_package_the_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "STARTER_PACKAGE", "no_such_package_here")
    with pytest.raises(ConfigurationError, match="MODEL_PATH"):
        resolve_model(settings_with())


def test_the_converted_starter_of_an_earlier_release_is_taken_along(tmp_path: Path) -> None:
    from inference.engine.opening import _starter_folder

    settings = settings_with(data_dir=tmp_path)
    old = tiny_model(tmp_path / "models" / "SmolLM2-135M-Instruct.Q8_0.gguf")
    assert (_starter_folder(settings) / old.name).exists() and not old.exists()
    assert _starter_folder(settings) == tmp_path / "starter"
