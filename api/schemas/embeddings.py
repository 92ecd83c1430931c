"""`/v1/embeddings`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from api.schemas.base import WireAnswer, WireRequest

MAX_INPUTS = 2048
MAX_TOKEN_ID = 2**31
#: Characters (or token ids) of one input, and of all together. No model reads that much: tokenizing more wastes time.
MAX_INPUT_LENGTH = 2**17
MAX_TOTAL_LENGTH = 2**22


class EmbeddingsRequest(WireRequest):
    """Body of `POST /v1/embeddings`."""

    input: str | list[str] | list[int] | list[list[int]] = Field(description="Texts, or token ids of the model.")
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    input_type: Literal["query", "document"] | None = Field(
        None, description="Extension: prefix each text with the model's prompt for queries or for documents."
    )

    @field_validator("input", mode="before")
    @classmethod
    def _of_one_kind(cls, value: Any) -> Any:
        if not isinstance(value, str | list):
            raise ValueError("it must be a string, a list of strings, a list of token ids or a list of such lists")
        if not value:
            raise ValueError("it must not be empty")
        if isinstance(value, list):
            _check_items(value)
        _check_length(value)
        return value

    @property
    def has_token_ids(self) -> bool:
        return isinstance(self.input, list) and not isinstance(self.input[0], str)

    def items(self) -> list[str | list[int]]:
        """Return the inputs as a list of texts or of lists of token ids."""
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [self.input]
        return list(self.input)


def _check_items(items: list[Any]) -> None:
    first = items[0]
    if isinstance(first, int) and not isinstance(first, bool):
        _check_ids(items)
        return
    if len(items) > MAX_INPUTS:
        raise ValueError(f"at most {MAX_INPUTS} inputs, not {len(items)}")
    kind = str if isinstance(first, str) else list
    for index, item in enumerate(items):
        if not isinstance(item, kind):
            raise ValueError(f"item {index} has another type than item 0, or one that cannot be embedded")
        if not item:
            raise ValueError(f"item {index} is empty")
        if isinstance(item, list):
            _check_ids(item)


def _check_length(value: str | list[Any]) -> None:
    items = [value] if isinstance(value, str) or isinstance(value[0], int) else value
    for index, item in enumerate(items):
        if len(item) > MAX_INPUT_LENGTH:
            unit = "characters" if isinstance(item, str) else "token ids"
            raise ValueError(f"item {index} has {len(item)} {unit}; at most {MAX_INPUT_LENGTH} are allowed")
    total = sum(map(len, items))
    if total > MAX_TOTAL_LENGTH:
        raise ValueError(f"it has {total} characters or token ids in all; at most {MAX_TOTAL_LENGTH} are allowed")


def _check_ids(ids: list[Any]) -> None:
    # Without a loop in Python, since there may be half a million.
    if ids and (set(map(type, ids)) != {int} or min(ids) < 0 or max(ids) >= MAX_TOKEN_ID):
        raise ValueError("token ids are whole numbers, 0 or greater")


class Embedding(WireAnswer):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(WireAnswer):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(WireAnswer):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
