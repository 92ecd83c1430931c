"""What is wrong with a setting is said with its name, its value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import ConfigurationError
from core.settings import load_settings

KEYS = ("0123456789abcdef",)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "server.lan"])
def test_the_world_is_not_served_without_keys(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"HOST={host}.*API_KEYS.*ALLOW_ANONYMOUS"):
        load_settings(_env_file=None, host=host)
    assert load_settings(_env_file=None, host=host, api_keys=KEYS).api_keys
    assert load_settings(_env_file=None, host=host, allow_anonymous=True).allow_anonymous


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_is_served_without_keys(host: str) -> None:
    assert load_settings(_env_file=None, host=host).api_keys == ()


@pytest.mark.parametrize("entry", ["sha256:", "sha256:abc", "sha256:" + "g" * 64, "sha256:" + "0" * 65])
def test_half_a_hash_is_refused_and_not_shown(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="64 hexadecimal") as caught:
        load_settings(_env_file=None, api_keys=f"plain-key,{entry}")
    assert "plain-key" not in str(caught.value) and entry not in str(caught.value).replace("`sha256:`", "")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_concurrent_requests_per_key": 0}, "MAX_CONCURRENT_REQUESTS_PER_KEY=0: .*greater than or equal to 1"),
        ({"rate_limit_requests_per_minute": "often"}, "RATE_LIMIT_REQUESTS_PER_MINUTE='often': .*integer"),
    ],
)
def test_a_limit_that_is_none_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_settings(_env_file=None, **setting)
