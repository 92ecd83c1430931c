"""Enforces the limits of each key: 429 with `Retry-After`, and `x-ratelimit-…` on every counted answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import is_open
from api.errors import response_to
from core.errors import RateLimited

if TYPE_CHECKING:
    from tasks.jobs.key_limits import Allowance, Verdict

#: Only requests for work count. Reading and deleting are free.
COUNTED_METHODS = frozenset({"POST"})
RATE_HEADERS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")


class Limits(Protocol):
    """The part of `tasks.jobs.key_limits.KeyLimits` that the API uses."""

    requests_per_minute: int | None
    concurrent_requests: int | None

    async def admit(self, key: str) -> Verdict: ...

    async def release(self, verdict: Verdict) -> None: ...


class LimitMiddleware:
    """Admits requests by their key (`scope["state"]["key"]`, which `GuardMiddleware` sets)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits: Limits | None = scope["app"].state.services.limits if _is_counted(scope) else None
        if limits is None:
            await self._app(scope, receive, send)
            return
        verdict = await limits.admit(scope["state"]["key"])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and verdict.allowance:
                MutableHeaders(scope=message).update(rate_headers(verdict.allowance))
            await send(message)

        if verdict.refused:
            await response_to(refusal(limits, verdict))(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            # Shielded, so that a cancelled request releases its slot too.
            await asyncio.shield(asyncio.ensure_future(limits.release(verdict)))


def _is_counted(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] in COUNTED_METHODS and not is_open(scope["path"])


def refusal(limits: Limits, verdict: Verdict) -> RateLimited:
    """Return the error for a client that is over its limit."""
    wait = verdict.retry_after_seconds
    if verdict.refused == "rate":
        return RateLimited(
            f"Rate limit reached: {limits.requests_per_minute} requests per minute (RATE_LIMIT_REQUESTS_PER_MINUTE). "
            f"Try again in {wait:.3g} s.",
            retry_after_seconds=wait,
        )
    return RateLimited(
        f"{limits.concurrent_requests} requests of this key are running, which is the limit "
        "(MAX_CONCURRENT_REQUESTS_PER_KEY). Try again when one of them has ended.",
        code="concurrency_limit_exceeded",
        retry_after_seconds=wait,
    )


def rate_headers(allowance: Allowance) -> dict[str, str]:
    """Return the rate headers in OpenAI's format. The reset is a duration such as `1m0s`, `8.64s` or `120ms`."""
    values = (str(allowance.limit), str(allowance.remaining), duration(allowance.reset_seconds))
    return dict(zip(RATE_HEADERS, values, strict=True))


def duration(seconds: float) -> str:
    """Return a duration in the format of OpenAI's headers."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds / 1000, 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"
