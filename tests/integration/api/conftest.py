"""The fixtures of the API's unit tests, used with a real Redis."""

from __future__ import annotations

from tests.unit.api.conftest import catalog, hints, services, settings, stream

__all__ = ["catalog", "hints", "services", "settings", "stream"]
