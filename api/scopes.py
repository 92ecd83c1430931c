"""The scopes that a route needs. Each route says so where it is defined, and `api.dependencies.JsonRoute` checks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from core.keys import Scope

EndpointT = TypeVar("EndpointT", bound=Callable[..., Any])
_ATTRIBUTE = "required_scopes"


def needs(*scopes: Scope) -> Callable[[EndpointT], EndpointT]:
    """Let only callers with all of these scopes use a route; without any, every caller."""

    def mark(endpoint: EndpointT) -> EndpointT:
        setattr(endpoint, _ATTRIBUTE, scopes)
        return endpoint

    return mark


def scopes_of(endpoint: Callable[..., Any]) -> tuple[Scope, ...]:
    """Return the scopes that a route needs.

    Raises:
        TypeError: its definition does not say.
    """
    scopes: tuple[Scope, ...] | None = getattr(endpoint, _ATTRIBUTE, None)
    if scopes is None:
        raise TypeError(f"The route {endpoint.__name__} does not say which scopes it needs: see `api.scopes.needs`.")
    return scopes
