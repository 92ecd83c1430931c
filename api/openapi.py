"""The OpenAPI document: what FastAPI knows of the routes, and the errors that every one of them may answer with."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.auth import OPEN_PATHS
from api.key_limits import COUNTED_METHODS

Operation = dict[str, Any]

#: What the statuses mean here; docs/limits.md tells more of 413, 429 and 503.
MEANINGS = {
    400: "The request is wrong; `param` names the field.",
    401: "The key is missing or wrong.",
    404: "What the request names is not there.",
    413: "The body is over a limit of size.",
    429: "The key is over a limit.",
    503: "A part that is needed does not answer, or too much is waiting.",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_ERROR_CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}


def describe_api(app: FastAPI, *, has_keys: bool) -> dict[str, Any]:
    """The document, without FastAPI's 422, which is never sent here, and with the keys if there are any."""
    schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _add_errors(path, method.upper(), operation, has_keys=has_keys)
            if has_keys and path not in OPEN_PATHS:
                operation["security"] = [{"key": []}]
    components = schema.setdefault("components", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    if has_keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return schema


def _add_errors(path: str, method: str, operation: Operation, *, has_keys: bool) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    if path in OPEN_PATHS:
        return
    applies = {
        401: has_keys,
        413: "requestBody" in operation,
        429: method in COUNTED_METHODS,
    }
    for status, meaning in MEANINGS.items():
        if applies.get(status, True):
            responses.setdefault(str(status), _error(status, meaning))


def _error(status: int, meaning: str) -> dict[str, Any]:
    headers = {"headers": _RETRY_AFTER} if status in (429, 503) else {}
    return {"description": meaning, "content": _ERROR_CONTENT, **headers}
