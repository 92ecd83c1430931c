"""All errors that a user can see, with their HTTP status and wire fields.

LlmApiError
├── InvalidRequest            400  invalid_request_error
│   └── ContextLengthExceeded      code context_length_exceeded
├── AuthenticationFailed      401  authentication_error
├── PermissionDenied          403  permission_error
├── NotFound                  404  invalid_request_error, code not_found
├── Conflict                  400  invalid_request_error, code conflict (409 would be retried by clients)
├── TooLarge                  413  invalid_request_error
├── RateLimited               429  rate_limit_error, Retry-After
├── Unavailable               503  service_unavailable, Retry-After
│   └── StorageFull           507  insufficient_storage, code storage_full
├── InternalError             500  server_error
├── DocumentRejected          a file that cannot be ingested; the message tells its owner why
└── ConfigurationError        a setting that stops the start; never sent over HTTP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class ErrorInfo:
    """An error as it travels between processes and, under `error`, to the client."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None
    status: int = 500

    def as_wire(self) -> dict[str, str | None]:
        """Return the OpenAI error object: `message`, `type`, `param` and `code`, all four always present."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}


class LlmApiError(Exception):
    """Base of all errors that are answered to the user."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code if code is not None else self.default_code
        self.retry_after_seconds = retry_after_seconds

    @property
    def info(self) -> ErrorInfo:
        return ErrorInfo(self.message, self.type, self.param, self.code, self.status)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.param, self.code, self.retry_after_seconds))


def _rebuild(
    cls: type[LlmApiError], message: str, param: str | None, code: str | None, retry_after: float | None
) -> LlmApiError:
    """Rebuild a pickled error in another process: by default, pickle would call `__init__` without its keywords."""
    error = cls.__new__(cls)
    LlmApiError.__init__(error, message, param=param, code=code, retry_after_seconds=retry_after)
    return error


class InvalidRequest(LlmApiError):
    """The request is wrong and will stay wrong; `param` names the field."""

    status = 400
    type = "invalid_request_error"


class ContextLengthExceeded(InvalidRequest):
    """Prompt and requested output do not fit the model's context; both numbers are in the message."""

    default_code = "context_length_exceeded"

    def __init__(self, *, limit_tokens: int, prompt_tokens: int, param: str = "messages") -> None:
        super().__init__(
            f"This model's maximum context length is {limit_tokens} tokens. However, your {param} resulted in "
            f"{prompt_tokens} tokens. Please reduce the length of the {param}.",
            param=param,
        )


class AuthenticationFailed(LlmApiError):
    """The key is missing or wrong."""

    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class PermissionDenied(LlmApiError):
    """The server is set up not to answer such a request; the message names the setting."""

    status = 403
    type = "permission_error"
    default_code = "permission_denied"


class NotFound(LlmApiError):
    """No such object or route."""

    status = 404
    type = "invalid_request_error"
    default_code = "not_found"


class Conflict(InvalidRequest):
    """The object is in a state that does not allow this."""

    default_code = "conflict"


class TooLarge(LlmApiError):
    """The body or a file is over its limit; the message names the setting."""

    status = 413
    type = "invalid_request_error"
    default_code = "too_large"


class RateLimited(LlmApiError):
    """Too many requests of one key."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class Unavailable(LlmApiError):
    """A process or store that the request needs does not answer, or the queue is full. Retrying may help."""

    status = 503
    type = "service_unavailable"
    default_code = "service_unavailable"


class StorageFull(Unavailable):
    """A disk has no room for what the request needs to store; the message says which disk and how much is free."""

    status = 507
    type = "insufficient_storage"
    default_code = "storage_full"


class InternalError(LlmApiError):
    """A fault in this program."""


class DocumentRejected(LlmApiError):
    """A file cannot be ingested, and retrying would not help. The message is for its owner."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_file"


class ConfigurationError(LlmApiError):
    """A setting stops the start: the message names the variable, its value and what is allowed."""
