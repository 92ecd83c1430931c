"""`.env.example` and the table of docs/settings.md name every setting, with its real default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

from core.settings import Settings, load_settings
from scripts import settings_docs

ROOT = Path(settings_docs.ROOT)
REMEDY = "run: python scripts/settings_docs.py"


@pytest.fixture
def uncommented(tmp_path: Path) -> Path:
    """Return the path of a copy of `.env.example` in which every setting is set."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    path = tmp_path / ".env"
    path.write_text(re.sub(r"^#(?=[A-Z])", "", text, flags=re.MULTILINE), encoding="utf-8")
    return path


def test_env_example_names_every_setting_once(uncommented: Path) -> None:
    names = re.findall(r"^([A-Z_]+)=", uncommented.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(names) == len(set(names))
    assert set(names) == {name.upper() for name in Settings.model_fields} | set(settings_docs.COMPOSE_SETTINGS)


def test_the_defaults_of_env_example_are_those_of_the_settings(
    uncommented: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in dotenv_values(uncommented):
        monkeypatch.delenv(name, raising=False)
    assert load_settings(_env_file=uncommented) == load_settings(_env_file=None)


def test_an_unchanged_env_example_sets_nothing() -> None:
    assert dotenv_values(ROOT / ".env.example") == {}


def test_env_example_is_up_to_date() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == settings_docs.env_example(), REMEDY


def test_the_table_of_settings_is_up_to_date() -> None:
    page = settings_docs.SETTINGS_PAGE.read_text(encoding="utf-8")
    assert page == settings_docs.with_table(page), REMEDY


def test_every_setting_has_a_description_and_a_group() -> None:
    settings = [setting for group, settings in settings_docs.setting_groups() for setting in settings if group]
    assert {setting.name for setting in settings} == {name.upper() for name in Settings.model_fields}
    assert all(setting.description for setting in settings)
