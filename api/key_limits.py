"""Enforces the limits of each key: 429 with `Retry-After`, and `x-ratelimit-…` on every counted answer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import is_open
from api.callers import Caller
from api.errors import response_to
from core.errors import RateLimited
from core.settings import Settings
from core.usage import seconds_to_midnight
from tasks.jobs.key_limits import Quota

if TYPE_CHECKING:
    from api.dependencies import Services
    from tasks.jobs.key_limits import Allowance, Verdict

#: Only requests for work count. Reading and deleting are free.
COUNTED_METHODS = frozenset({"POST"})
RATE_HEADERS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")


class Limits(Protocol):
    """The part of `tasks.jobs.key_limits.KeyLimits` that the API uses."""

    async def admit(self, key: str, quota: Quota) -> Verdict: ...

    async def release(self, verdict: Verdict) -> None: ...


class LimitMiddleware:
    """Admits and counts requests by their caller (`scope["state"]["caller"]`, which `GuardMiddleware` sets)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_counted(scope):
            await self._app(scope, receive, send)
            return
        services: Services = scope["app"].state.services
        caller: Caller = scope["state"]["caller"]
        require_tokens(caller)
        quota = quota_of(caller, services.settings)
        if services.limits is not None and quota.is_limited:
            await self._admit(services, services.limits, quota, scope, receive, send)
        else:
            _count(services, caller)
            await self._app(scope, receive, send)

    async def _admit(
        self, services: Services, limits: Limits, quota: Quota, scope: Scope, receive: Receive, send: Send
    ) -> None:
        caller: Caller = scope["state"]["caller"]
        verdict = await limits.admit(caller.key, quota)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and verdict.allowance:
                MutableHeaders(scope=message).update(rate_headers(verdict.allowance))
            await send(message)

        if verdict.refused:
            await response_to(refusal(caller, verdict))(scope, receive, send_with_headers)
            return
        _count(services, caller)
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            # Shielded, so that a cancelled request releases its slot too.
            await asyncio.shield(asyncio.ensure_future(limits.release(verdict)))


def _is_counted(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] in COUNTED_METHODS and not is_open(scope["path"])


def _count(services: Services, caller: Caller) -> None:
    if services.usage is not None:
        services.usage.count(caller.owner, caller.key, requests=1)


def quota_of(caller: Caller, settings: Settings) -> Quota:
    """Return the limits of a caller: those of its key, or else those of the settings."""
    own = caller.rights
    return Quota(
        settings.rate_limit_requests_per_minute if own.requests_per_minute is None else own.requests_per_minute,
        settings.max_concurrent_requests_per_key if own.concurrent_requests is None else own.concurrent_requests,
    )


def require_tokens(caller: Caller) -> None:
    """Raise RateLimited if the key has used all tokens that it may use in a day."""
    limit = caller.rights.tokens_per_day
    if limit is not None and caller.tokens_today >= limit:
        raise RateLimited(
            f"This key has used {caller.tokens_today:,} of the {limit:,} tokens that it may use in a day (UTC).",
            code="token_limit_exceeded",
            retry_after_seconds=seconds_to_midnight(time.time()),
        )


def refusal(caller: Caller, verdict: Verdict) -> RateLimited:
    """Return the error for a client that is over its limit."""
    wait, quota, own = verdict.retry_after_seconds, verdict.quota, "a limit of this key"
    if verdict.refused == "rate":
        origin = "RATE_LIMIT_REQUESTS_PER_MINUTE" if caller.rights.requests_per_minute is None else own
        return RateLimited(
            f"Rate limit reached: {quota.requests_per_minute} requests per minute ({origin}). "
            f"Try again in {wait:.3g} s.",
            retry_after_seconds=wait,
        )
    origin = "MAX_CONCURRENT_REQUESTS_PER_KEY" if caller.rights.concurrent_requests is None else own
    return RateLimited(
        f"{quota.concurrent_requests} requests of this key are running, which is the limit ({origin}). "
        "Try again when one of them has ended.",
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
