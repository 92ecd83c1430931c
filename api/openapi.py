"""The OpenAPI document: FastAPI's description of the routes, and the errors that each of them may answer."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.auth import OPEN_PATHS
from api.key_limits import COUNTED_METHODS
from api.sessions import COOKIE, SESSION_PATH

Operation = dict[str, Any]

#: The meanings of statuses; docs/limits.md explains 413, 429 and 503.
MEANINGS = {
    400: "The request is invalid; `param` names the field.",
    401: "The API key is missing or wrong, has been revoked or has expired.",
    403: "The key lacks a scope, which `code` names, or may not change this object; ALLOWED_HOSTS does not have the"
    " name of the host; or a foreign page sent the request.",
    404: "The object that the request names does not exist, or the key does not see it.",
    413: "The body is too large.",
    429: "The key has reached one of its limits.",
    503: "A service that the request needs does not answer, or too many requests are waiting.",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_ERROR_CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}


def describe_api(app: FastAPI) -> dict[str, Any]:
    """Return the document, without FastAPI's 422, which is never sent."""
    schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _add_errors(path, method.upper(), operation)
            if path not in OPEN_PATHS:
                # Keys are needed as soon as there is one.
                operation["security"] = [{}, {"key": []}, {"session": []}]
    components = schema.setdefault("components", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": f"Set by `POST {SESSION_PATH}`."},
    }
    return schema


def _add_errors(path: str, method: str, operation: Operation) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    if path in OPEN_PATHS and path != SESSION_PATH:
        return
    applies = {
        413: "requestBody" in operation,
        429: method in COUNTED_METHODS and path not in OPEN_PATHS,
    }
    for status, meaning in MEANINGS.items():
        if applies.get(status, True):
            responses.setdefault(str(status), _error(status, meaning))


def _error(status: int, meaning: str) -> dict[str, Any]:
    headers = {"headers": _RETRY_AFTER} if status in (429, 503) else {}
    return {"description": meaning, "content": _ERROR_CONTENT, **headers}
