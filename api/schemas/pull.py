"""The wire format of `/v1/models/pull`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.base import NonBlank, WireAnswer, WireRequest


class PullBody(WireRequest):
    """Body of `POST /v1/models/pull`."""

    model: NonBlank = Field(
        description="OWNER/REPOSITORY, OWNER/REPOSITORY:FILE, OWNER/REPOSITORY:QUANTISATION, or `recommended`."
    )


class PulledModel(WireAnswer):
    """A model that has been pulled."""

    object: str
    model: str = Field(description="The name of the model, for requests.")
    repository: str
    revision: str
    files: list[str]
    bytes: int


class RecommendedModel(WireAnswer):
    """A model on the hub, whose `id` can be pulled. Sizes are approximate; the licence is that of the model card."""

    id: str
    object: Literal["recommended_model"]
    size_bytes: int
    memory_bytes: int = Field(description="What it needs with a context of 8,192 tokens.")
    licence: str
    purpose: str
    fits: bool = Field(description="Whether it fits into free memory and is quick enough.")
    best: bool = Field(description="Whether it is the one that `recommended` means.")


class RecommendedModels(WireAnswer):
    """The recommended models, and the free memory that a model may take."""

    object: Literal["list"]
    data: list[RecommendedModel]
    has_more: bool
    memory_bytes: int
    gpu_memory_bytes: int
