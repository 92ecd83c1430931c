"""Base classes and types that all models share."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, StringConstraints
from pydantic.config import JsonDict
from pydantic_core import CoreSchema

ItemT = TypeVar("ItemT")

#: Marks fields that OpenAI's API does not have.
EXTENSION: JsonDict = {"x-extension": True}


def plain_name(name: str) -> str:
    """Return the name if it can be part of a URL's path and looks like no other name.

    Raises:
        ValueError: it has surrounding spaces, or an empty part, `.` or `..` between slashes.
    """
    if name != name.strip() or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError("a name has no spaces around it, and no part between slashes may be empty, '.' or '..'")
    return name


#: A collection's name: one line without control characters and surrounding spaces, unchanged by path normalisation.
CollectionName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$"),
    AfterValidator(plain_name),
]
#: Text that is more than white space.
NonBlank = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


def _stop_at_first_error(part: Any) -> None:
    """Set `fail_fast` in each list of a core schema. Pydantic has no setting for all of them."""
    if isinstance(part, dict):
        if part.get("type") == "list":
            part["fail_fast"] = True
        for inner in part.values():
            _stop_at_first_error(inner)
    elif isinstance(part, list):
        for inner in part:
            _stop_at_first_error(inner)


class WireRequest(BaseModel):
    """A request body. Types are strict, and unknown fields are ignored.

    Of a list, only the first wrong item is reported: to describe half a million of them would take seconds.
    """

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _stop_at_first_error(schema)
        return schema


class WireAnswer(BaseModel):
    """An answer, for the OpenAPI document only: answers are not built from it."""


class ErrorObject(WireAnswer):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(WireAnswer):
    """The form of every error."""

    error: ErrorObject


class ListAnswer(WireAnswer, Generic[ItemT]):
    """A page of a list. If `has_more` is true, request the next page with `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[ItemT]
    has_more: bool
    first_id: str | None = None
    last_id: str | None = None


class UsageDetails(WireAnswer):
    cached_tokens: int


class CompletionDetails(WireAnswer):
    reasoning_tokens: int


class Usage(WireAnswer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: UsageDetails
    #: Absent if the model has not reasoned.
    completion_tokens_details: CompletionDetails | None = None
    #: Extension: how many of the tokens the rewriting of a follow-up question took; absent if none was rewritten.
    rewrite_tokens: int | None = None


class Timings(WireAnswer):
    """Extension: the time spent in each stage, in milliseconds."""

    queue_ms: float = 0.0
    prompt_ms: float = 0.0
    generation_ms: float = 0.0
    retrieval_ms: float = 0.0


class Model(WireAnswer):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    kind: Literal["chat", "embeddings", "rerank"] = Field(json_schema_extra=EXTENSION)
    state: Literal["available", "loading", "loaded", "failed"] = Field(
        description="Extension: an available model is on the disk, and is loaded when a request names it.",
        json_schema_extra=EXTENSION,
    )
    capabilities: list[Literal["chat", "tools", "reasoning", "embeddings", "rerank"]] = Field(
        json_schema_extra=EXTENSION
    )
    default: bool | None = Field(
        None,
        description="Extension: whether it answers requests that name no known model.",
        json_schema_extra=EXTENSION,
    )
    problem: str | None = Field(None, description="Extension: why it cannot be used.", json_schema_extra=EXTENSION)
    context_length: int | None = Field(
        None,
        description="Extension: in tokens. Of a loaded model, that of an answer with its prompt; else the trained one.",
        json_schema_extra=EXTENSION,
    )
    demonstration: bool | None = Field(
        None,
        description="Extension: of a loaded model, whether it is the small one that the program brings.",
        json_schema_extra=EXTENSION,
    )
    size_bytes: int | None = Field(None, description="Extension: of its files.", json_schema_extra=EXTENSION)
    quantization: str | None = Field(None, description="Extension: such as 'Q4_K_M'.", json_schema_extra=EXTENSION)
    parameters: int | None = Field(None, description="Extension: their number.", json_schema_extra=EXTENSION)
    collection: str | None = Field(
        None, description="Extension: the collection that this name answers from.", json_schema_extra=EXTENSION
    )
    chat_template: str | None = Field(
        None,
        description="Extension: where the chat template is from: 'file', 'family:NAME' or 'setting:NAME'.",
        json_schema_extra=EXTENSION,
    )
    reasoning: bool | None = Field(
        None,
        description="Extension: whether the model marks what it thinks before it answers.",
        json_schema_extra=EXTENSION,
    )


Collections = Annotated[list[CollectionName], Field(max_length=64)]

#: Describes a stream of server-sent events. The `data` of each is JSON, except for the closing `[DONE]` of chats.
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
