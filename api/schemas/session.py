"""`/v1/session`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.schemas.base import WireAnswer, WireRequest


class NewSession(WireRequest):
    """Body of `POST /v1/session`."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(description="An API key.")


class Session(WireAnswer):
    """Who sends the request."""

    object: Literal["session"] = "session"
    key_required: bool = Field(description="False: there has never been a key, and every request is accepted.")
    signed_in: bool = Field(description="Whether the request has a key or the cookie of a session that holds.")
    owner: str | None = Field(description="Who the requests are sent for; null: nobody is signed in.")
    scopes: list[str] = Field(description="What requests may do. An admin has all scopes.")
