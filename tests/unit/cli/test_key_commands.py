"""`llm-api keys` works on the catalog itself: without a running server, and without a key."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import cli.key_commands
from cli.main import app
from cli.preflight import check_access, migrate_catalog
from core.catalog import Catalog
from core.errors import ConfigurationError
from core.keys import KEY_PREFIX, Scope, key_digest
from core.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = load_settings(_env_file=None, data_dir=tmp_path / "data", redis_url="unix:///nowhere/redis.sock")
    monkeypatch.setattr(cli.key_commands, "get_settings", lambda: settings)
    return settings


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def test_a_key_is_created_listed_and_revoked(settings: Settings) -> None:
    rights = [
        "--scope",
        "chat",
        "--collection",
        "b",
        "--collection",
        "a",
        "--tokens-per-day",
        "9",
        "--expires-days",
        "1",
    ]
    made = run("create", "alice", *rights)
    assert made.exit_code == 0, made.output
    secret = made.output.splitlines()[-1]
    assert secret.startswith(KEY_PREFIX)
    catalog = Catalog.open(settings.catalog_url)
    key = catalog.find_key(key_digest(secret))
    assert key is not None and key.expires_at is not None
    assert (key.owner, key.scopes, key.collections, key.tokens_per_day) == ("alice", (Scope.CHAT,), ("a", "b"), 9)
    listed = run()
    assert key.id in listed.output and "valid" in listed.output and secret not in listed.output
    assert run("revoke", key.id).exit_code == 0
    assert "revoked" in run("list").output
    catalog.close()


@pytest.mark.parametrize("arguments", [("create", " "), ("create", "a", "--scope", "admin", "--model", "m")])
def test_a_wrong_key_is_refused(settings: Settings, arguments: tuple[str, ...]) -> None:
    refused = run(*arguments)
    assert refused.exit_code == 1 and "Error: " in refused.output and KEY_PREFIX not in refused.output


def test_a_key_in_the_catalog_lets_a_server_listen_on_a_public_address(settings: Settings) -> None:
    public = settings.model_copy(update={"host": "0.0.0.0"})
    with pytest.raises(ConfigurationError, match="llm-api keys create"):
        check_access(public)
    migrate_catalog(settings)
    with pytest.raises(ConfigurationError):
        check_access(public)
    run("create", "alice")
    check_access(public)
