"""Renders every error of every route as OpenAI's error object `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.paths import suggested_path
from core.errors import ErrorInfo, InternalError, LlmApiError, NotFound
from core.errors import Unavailable as _Unavailable

log = logging.getLogger(__name__)

#: `Retry-After` of errors that come without a time of their own.
DEFAULT_RETRY_AFTER_SECONDS = 5
RETRYABLE_STATUSES = frozenset({429, 503})
#: Pydantic's error types for a missing field, and for a missing field that selects the variant of an object.
MISSING = frozenset({"missing", "union_tag_not_found"})


class JobFailed(LlmApiError):
    """A job ended with an error that a worker has reported."""

    def __init__(self, error: ErrorInfo) -> None:
        super().__init__(error.message, param=error.param, code=error.code)
        self._error = error

    @property
    def info(self) -> ErrorInfo:
        return self._error


def describe(error: BaseException) -> ErrorInfo:
    """Return the error object of an exception. An unexpected one is logged, and its details are not shown."""
    if isinstance(error, LlmApiError):
        return error.info
    log.error("unexpected error", exc_info=error)
    return InternalError(
        "The server had an error while processing your request. See its log.", code="internal_error"
    ).info


def error_body(info: ErrorInfo) -> bytes:
    """Return the JSON of an error. A message may quote the request: invalid Unicode in it is replaced."""
    wire = {key: _clean(value) for key, value in info.as_wire().items()}
    return msgspec.json.encode({"error": wire})


def error_response(
    info: ErrorInfo, *, retry_after_seconds: float | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response for an error, with `Retry-After` if trying again can help."""
    sent = dict(headers or {})
    if info.status in RETRYABLE_STATUSES:
        wait = DEFAULT_RETRY_AFTER_SECONDS if retry_after_seconds is None else retry_after_seconds
        sent["retry-after"] = str(max(1, math.ceil(wait)))
    if info.status == 401:
        sent["www-authenticate"] = "Bearer"
    return Response(error_body(info), info.status, sent, "application/json")


def response_to(error: BaseException) -> Response:
    """Return the response for an exception."""
    wait = error.retry_after_seconds if isinstance(error, LlmApiError) else None
    return error_response(describe(error), retry_after_seconds=wait)


def install_error_handlers(app: FastAPI) -> None:
    """Install handlers for the errors that routes raise. `api.middleware` answers unexpected exceptions."""

    async def known(_: Request, error: Exception) -> Response:
        return response_to(error)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
        return error_response(describe_validation(error))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
        return error_response(_describe_http(request, error), headers=error.headers)

    app.add_exception_handler(LlmApiError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def describe_validation(error: RequestValidationError) -> ErrorInfo:
    """Return the error object of an invalid request: its first problem, with the field in `param`.

    `param` is a path such as `messages.0.content`.
    """
    problems = error.errors()
    problem = _first_problem(problems)
    param = _param(problem, error.body)
    # A field of a union type that matches no variant has a problem for each variant.
    others = [other for other in problems if other["loc"][:-1] == problem["loc"][:-1]]
    reasons = dict.fromkeys(str(other["msg"]) for other in others if _param(other, error.body) == param)
    message = _validation_message(problem, param, list(reasons))
    return ErrorInfo(message, "invalid_request_error", param, _validation_code(problem), 400)


def _first_problem(problems: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the first problem. For a field of a union type, return that of the variant that matched furthest."""
    first_path = problems[0]["loc"][:-1]
    same_field = [problem for problem in problems if problem["loc"][: len(first_path)] == first_path]
    return max(same_field, key=lambda problem: len(problem["loc"]))


def _param(problem: Mapping[str, Any], body: Any) -> str | None:
    """Return the path of the field in the client's JSON, without the union variants that pydantic inserts."""
    source, *path = problem["loc"]
    if problem["type"] == "json_invalid":
        return None
    if source != "body":
        # A parameter that may be repeated is named without its position: the client's URL has none.
        return str(path[0]) if path else None
    names = _resolved(path, body, missing=problem["type"] == "missing")
    if problem["type"].startswith("union_tag_"):
        names.append(problem["ctx"]["discriminator"].strip("'"))
    return ".".join(names) or None


def _resolved(path: Sequence[str | int], body: Any, *, missing: bool) -> list[str]:
    names: list[str] = []
    value = body
    for position, part in enumerate(path):
        if _has(value, part):
            value = value[part]
        elif not (missing and position == len(path) - 1):
            continue
        names.append(str(part))
    return names


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def _validation_message(problem: Mapping[str, Any], param: str | None, reasons: Sequence[str]) -> str:
    if problem["type"] == "json_invalid":
        return f"The body is not valid JSON: {problem['ctx']['error']}"
    if problem["type"] in MISSING:
        return f"Missing required parameter: '{param}'." if param else "The body must be a JSON object."
    first, *rest = (reason.removeprefix("Value error, ") for reason in reasons)
    message = ", or ".join([first, *(reason.removeprefix("Input should be ") for reason in rest)])
    if param is None:
        return (
            message if problem["type"] == "value_error" else "The body must be a JSON object, sent as application/json."
        )
    return f"Invalid '{param}': {message}"


def _validation_code(problem: Mapping[str, Any]) -> str | None:
    codes = {"json_invalid": "invalid_json"} | dict.fromkeys(MISSING, "missing_required_parameter")
    return codes.get(problem["type"])


def _describe_http(request: Request, error: HTTPException) -> ErrorInfo:
    """Return the error object of a framework error: an unknown route or method, or an unreadable body."""
    route = f"{request.method} {request.url.path}"
    match error.status_code:
        case 404:
            suggestion = suggested_path(request)
            hint = f" Did you mean {suggestion}?" if suggestion else ""
            return NotFound(f"There is no route {route}.{hint}", code="unknown_url").info
        case 405:
            return ErrorInfo(
                f"{route}: this method is not allowed here.", "invalid_request_error", None, "method_not_allowed", 405
            )
        case 413:
            return ErrorInfo(str(error.detail), "invalid_request_error", None, "too_large", 413)
        case status if status >= 500:
            return ErrorInfo(
                str(error.detail), _Unavailable.type if status == 503 else "server_error", None, None, status
            )
        case status:
            return ErrorInfo(str(error.detail), "invalid_request_error", None, None, status)


def _clean(value: str | None) -> str | None:
    return None if value is None else value.encode("utf-8", "replace").decode()
