"""Valid and invalid requests that are generated from the OpenAPI document are answered as it says."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from pydantic import SecretStr
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.dependencies import Services
from api.sessions import SESSION_PATH

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES_PER_OPERATION = 8
KEY = "an-admin-key"
#: Its stream has no end.
ENDLESS = "/v1/events"


@pytest.fixture
def app(services: Services) -> FastAPI:
    # schemathesis calls the application under this name.
    # With a key of an admin, since the first key that a test creates is needed from then on.
    changes = {"allowed_hosts": ("testserver",), "api_keys": (SecretStr(KEY),)}
    settings = services.settings.model_copy(update=changes)
    app = create_app(settings, services)
    app.state.services = services  # because schemathesis does not run the application's startup
    return app


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, pytest.param(GenerationMode.NEGATIVE, marks=pytest.mark.check)]
)
def test_every_answer_matches_the_document(app: FastAPI, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [one for one in (result.ok() for result in document.get_all_operations()) if one.path != ENDLESS]
    assert len(operations) > 25
    tried = sum(_can_be_tried(operation, mode) for operation in operations)
    assert tried > (25 if mode is GenerationMode.POSITIVE else 10)


def _can_be_tried(operation: Any, mode: GenerationMode) -> bool:
    """Try an operation. Return False if no invalid request to it exists."""
    try:
        _try(operation, mode)
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE
        return False
    return True


def _try(operation: Any, mode: GenerationMode) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis_settings(
        max_examples=EXAMPLES_PER_OPERATION,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answered(case: Any) -> None:
        answer = case.call_and_validate(checks=CHECKS, headers={"authorization": f"Bearer {KEY}"})
        # A key that is generated is a wrong one.
        assert answer.status_code not in (401, 403) or case.path == SESSION_PATH

    answered()


def test_every_operation_describes_its_errors(app: FastAPI) -> None:
    operation = app.openapi()["paths"]["/v1/chat/completions"]["post"]
    assert {"200", "202", "400", "404", "413", "429", "503", "default"} <= set(operation["responses"])
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert {"401", "403"} <= set(operation["responses"]) and operation["x-required-scopes"] == ["chat"]
    assert operation["responses"]["429"]["headers"]["Retry-After"]
