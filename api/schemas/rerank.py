"""`/v1/rerank`, as Cohere, Jina and vLLM have it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from api.schemas.base import NonBlank, WireAnswer, WireRequest
from api.schemas.embeddings import MAX_INPUT_LENGTH, MAX_TOTAL_LENGTH
from core.errors import InvalidRequest

MAX_DOCUMENTS = 1000
MAX_QUERY_CHARACTERS = 2**16


class RerankDocument(WireRequest):
    """A document in the form of an object."""

    text: str


class RerankBody(WireRequest):
    """Body of `POST /v1/rerank`."""

    query: Annotated[NonBlank, StringConstraints(max_length=MAX_QUERY_CHARACTERS)]
    documents: list[str | RerankDocument] = Field(description=f"1 to {MAX_DOCUMENTS} texts, or objects with a 'text'.")
    model: str | None = None
    top_n: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        None, description="The number of results (default: one for each document)."
    )
    return_documents: bool | None = Field(None, description="Whether results have their texts (default: false).")

    @field_validator("documents", mode="before")
    @classmethod
    def _texts_only(cls, value: Any) -> Any:
        if not isinstance(value, list) or not value:
            raise ValueError("it must be a list with at least one text, or object with a 'text'")
        if len(value) > MAX_DOCUMENTS:
            raise ValueError(f"at most {MAX_DOCUMENTS} documents, not {len(value)}")
        texts = [item.get("text") if isinstance(item, dict) else item for item in value]
        for index, text in enumerate(texts):
            _check_text(index, text)
        return texts

    def check(self) -> None:
        """Raise InvalidRequest if there is too much to read: the model reads the query anew for each document."""
        texts = self.texts()
        total = len(self.query) * len(texts) + sum(map(len, texts))
        if total > MAX_TOTAL_LENGTH:
            raise InvalidRequest(
                f"'documents' have {total} characters in all, with the query once for each document; at most "
                f"{MAX_TOTAL_LENGTH} are allowed.",
                param="documents",
            )

    def texts(self) -> list[str]:
        """Return the texts of the documents."""
        return [one if isinstance(one, str) else one.text for one in self.documents]


def _check_text(index: int, text: Any) -> None:
    if not isinstance(text, str):
        raise ValueError(f"item {index} is neither a text nor an object with a 'text'")
    if not text:
        raise ValueError(f"item {index} is empty")
    if len(text) > MAX_INPUT_LENGTH:
        raise ValueError(f"item {index} has {len(text)} characters; at most {MAX_INPUT_LENGTH} are allowed")


class RerankUsage(WireAnswer):
    total_tokens: int


class RerankResult(WireAnswer):
    """A document's position in the request, and its score from 0 to 1."""

    index: int
    relevance_score: float
    document: RerankDocument | None = Field(None, description="Absent unless 'return_documents' is true.")


class RerankResults(WireAnswer):
    """The best documents, best first."""

    id: str
    model: str
    usage: RerankUsage
    results: list[RerankResult]
