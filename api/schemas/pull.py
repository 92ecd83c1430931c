"""The wire format of `/v1/models/pull`."""

from __future__ import annotations

from pydantic import Field

from api.schemas.base import NonBlank, WireAnswer, WireRequest


class PullBody(WireRequest):
    """Body of `POST /v1/models/pull`."""

    model: NonBlank = Field(description="OWNER/REPOSITORY, OWNER/REPOSITORY:FILE or OWNER/REPOSITORY:QUANTISATION.")


class PulledModel(WireAnswer):
    """A model that has been pulled."""

    object: str
    model: str = Field(description="The name of the model, for requests.")
    repository: str
    revision: str
    files: list[str]
    bytes: int
