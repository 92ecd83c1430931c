"""Wrong settings: the message has the name, the value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigurationError
from core.public_address import require_keys
from core.settings import load_settings

KEYS = ("0123456789abcdef",)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "server.lan"])
def test_other_machines_are_not_served_without_keys(host: str) -> None:
    settings = load_settings(_env_file=None, host=host)
    with pytest.raises(ConfigurationError, match=f"HOST={host}.*API_KEYS.*llm-api keys create.*ALLOW_ANONYMOUS"):
        require_keys(settings, lambda: False)
    require_keys(settings, lambda: True)
    require_keys(load_settings(_env_file=None, host=host, api_keys=KEYS), lambda: False)
    require_keys(load_settings(_env_file=None, host=host, allow_anonymous=True), lambda: False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_is_served_without_keys(host: str) -> None:
    require_keys(load_settings(_env_file=None, host=host), lambda: False)


@pytest.mark.parametrize("entry", ["sha256:", "sha256:abc", "sha256:" + "g" * 64, "sha256:" + "0" * 65])
def test_an_invalid_hash_is_refused_and_not_shown(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="64 hexadecimal") as caught:
        load_settings(_env_file=None, api_keys=f"plain-key,{entry}")
    assert "plain-key" not in str(caught.value) and entry not in str(caught.value).replace("`sha256:`", "")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"redis_url": "http://:swordfish@host"}, "REDIS_URL=.*must start with redis://, rediss:// or unix://"),
        ({"redis_url": "redis://:pike/fish@host:6379"}, "REDIS_URL=.*port is invalid.*@ as %40"),
        ({"redis_url": "redis://:pike#fish@host"}, "REDIS_URL=.*port is invalid"),
        ({"redis_url": "redis://u:swordfish@[host"}, "REDIS_URL=.*host or the port is invalid"),
        ({"qdrant_url": "swordfish@host:6333"}, "QDRANT_URL=.*must start with http:// or https://"),
        ({"qdrant_url": "http://u:pike/fish@host:6333"}, "QDRANT_URL=.*port is invalid"),
        ({"database_url": ["swordfish"]}, "DATABASE_URL="),
    ],
)
def test_a_wrong_url_is_refused_and_its_password_not_shown(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_settings(_env_file=None, **setting)
    assert "pike" not in str(caught.value) and "fish" not in str(caught.value)


def test_settings_that_are_printed_show_no_password() -> None:
    urls = {"redis_url": "redis://:swordfish@h", "database_url": "postgresql://u:swordfish@h/d"}
    urls["qdrant_url"] = "http://u:swordfish@h"
    settings = load_settings(_env_file=None, **urls, api_keys="swordfish", qdrant_api_key="swordfish")
    assert "swordfish" not in repr(settings)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_concurrent_requests_per_key": 0}, "MAX_CONCURRENT_REQUESTS_PER_KEY=0: .*greater than or equal to 1"),
        ({"rate_limit_requests_per_minute": "often"}, "RATE_LIMIT_REQUESTS_PER_MINUTE='often': .*integer"),
    ],
)
def test_an_invalid_limit_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_settings(_env_file=None, **setting)


@pytest.mark.parametrize(
    ("entry", "path", "collection", "mode"),
    [
        ("/srv/a", "/srv/a", "default", "mirror"),
        ("/srv/a=papers", "/srv/a", "papers", "mirror"),
        ("/srv/a=papers:mirror", "/srv/a", "papers", "mirror"),
        ("/srv/a=papers:additive", "/srv/a", "papers", "additive"),
        ("/srv/a=b=papers:consume", "/srv/a=b", "papers", "consume"),
        ("/srv/a:consume", "/srv/a:consume", "default", "mirror"),
    ],
)
def test_a_watched_folder_has_a_path_a_collection_and_a_mode(entry: str, path: str, collection: str, mode: str) -> None:
    [root] = load_settings(_env_file=None, watch_dirs=entry).watch_roots
    assert (str(root.path), root.collection, root.mode) == (path, collection, mode)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("/srv/a=papers:move", "WATCH_DIRS.*'move'.*mirror, additive or consume"),
        ("/srv/a=papers:", "WATCH_DIRS.*mirror, additive or consume"),
        ("/srv/a=", "WATCH_DIRS.*collection's name is empty"),
        ("/srv/a=:consume", "WATCH_DIRS.*collection's name is empty"),
        ("=papers", "WATCH_DIRS.*path is empty"),
        ("/srv/a=x,/srv/a/=y:consume", "WATCH_DIRS names a folder twice"),
    ],
)
def test_an_invalid_watched_folder_is_refused_by_name(entry: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_settings(_env_file=None, watch_dirs=entry)


TEMPLATE = "Read {documents} and answer {question}"


def test_a_prompt_template_is_text_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text(TEMPLATE)
    for value in (TEMPLATE, str(file)):
        assert load_settings(_env_file=None, rag_prompt_template=value).rag_prompt_template == TEMPLATE
    assert load_settings(_env_file=None).rag_prompt_template is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere.txt", "neither a template with its placeholders nor a file"),
        ("Read {documents}", "once each.*it has {documents}"),
        ("{documents} {documents} {question}", "once each"),
        ("{documents} {question} {answer}", "no other; it has .*{answer}"),
    ],
)
def test_a_template_without_its_placeholders_stops_the_start(value: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"RAG_PROMPT_TEMPLATE=.*{message}"):
        load_settings(_env_file=None, rag_prompt_template=value)
