"""What wire models share."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

ItemT = TypeVar("ItemT")

#: Marks what OpenAI's API does not have.
EXTENSION: JsonDict = {"x-extension": True}


def plain_name(name: str) -> str:
    """The name, if it can be told from others and be part of a path.

    Raises:
        ValueError: it cannot.
    """
    if name != name.strip() or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError("a name has no spaces around it, and its parts between slashes are neither empty nor dots")
    return name


#: A collection's name: one line, no control characters, no spaces around it, and nothing that a path would swallow.
CollectionName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$"),
    AfterValidator(plain_name),
]
#: Text that is more than white space.
NonBlank = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


class WireRequest(BaseModel):
    """A request body: types are taken strictly, unknown fields are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class WireAnswer(BaseModel):
    """An answer, for the OpenAPI document; answers are not built through it."""


class ErrorObject(WireAnswer):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(WireAnswer):
    """Every error of every route."""

    error: ErrorObject


class ListAnswer(WireAnswer, Generic[ItemT]):
    """A page of a list; go on with `after=last_id` while `has_more`."""

    object: Literal["list"] = "list"
    data: list[ItemT]
    has_more: bool
    first_id: str | None = None
    last_id: str | None = None


class UsageDetails(WireAnswer):
    cached_tokens: int


class Usage(WireAnswer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: UsageDetails
    #: Extension, where a follow-up question was rewritten: those of the tokens that went into that.
    rewrite_tokens: int | None = None


class Timings(WireAnswer):
    """Extension: where the time went, in milliseconds."""

    queue_ms: float = 0.0
    prompt_ms: float = 0.0
    generation_ms: float = 0.0
    retrieval_ms: float = 0.0


class Model(WireAnswer):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    kind: Literal["chat", "embeddings"] = Field(json_schema_extra=EXTENSION)
    collection: str | None = Field(
        None, description="Extension: the collection that this name answers from.", json_schema_extra=EXTENSION
    )


Collections = Annotated[list[CollectionName], Field(max_length=64)]

#: What OpenAPI says of a stream of server-sent events: each has JSON in `data`, but for the closing `[DONE]` of chats.
EVENT_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "itemSchema": {
            "type": "object",
            "properties": {
                "data": {"type": "string"},
                "event": {"type": "string"},
                "id": {"type": "string"},
            },
            "required": ["data"],
        }
    }
}
