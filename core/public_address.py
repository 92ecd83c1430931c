"""The rule that a server for other machines has keys."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import ConfigurationError
from core.settings import LOOPBACK_HOSTS, Settings


def require_keys(settings: Settings, has_keys: Callable[[], bool]) -> None:
    """Check that not everyone can use a server for other machines, unless ALLOW_ANONYMOUS says so.

    Args:
        has_keys: returns whether there are keys in the catalog.

    Raises:
        ConfigurationError: there are no keys.
    """
    if settings.host in LOOPBACK_HOSTS or settings.api_keys or settings.allow_anonymous or has_keys():
        return
    raise ConfigurationError(
        f"HOST={settings.host} serves other machines, so API_KEYS must be set or a key be created with "
        "`llm-api keys create` (or ALLOW_ANONYMOUS=true to say that everyone may use this server)."
    )
