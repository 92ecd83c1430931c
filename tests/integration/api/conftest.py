"""The application of the unit tests, whose fixtures these are, over a real Redis."""

from __future__ import annotations

from tests.unit.api.conftest import catalog, empty_catalog, hints, services, settings, stream

__all__ = ["catalog", "empty_catalog", "hints", "services", "settings", "stream"]
