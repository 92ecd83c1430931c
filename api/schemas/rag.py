"""`/v1/rag/search`, `/v1/rag/chat` and `/v1/rag/documents`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from api.schemas.answer_format import FormatFields
from api.schemas.base import CollectionName, NonBlank, Timings, Usage, WireAnswer, WireRequest
from api.schemas.chat import FinishReason, Missing, SchemaErrors, Source, StreamOptions
from api.schemas.hits import Highlight, HitPlace
from api.schemas.messages import Messages
from api.schemas.reasoning import ReasoningFields
from api.schemas.scope import Scope
from core.messages import AttributeValue, ChatMessage
from core.watch_roots import DEFAULT_COLLECTION
from tasks.jobs.kinds import all_kinds

MAX_TEXTS = 1000
MAX_QUERIES = 16
#: More than any model reads of a query: tokenizing longer ones wastes time.
MAX_QUERY_CHARACTERS = 2**16
MAX_ATTRIBUTES = 16
MAX_ATTRIBUTE_KEY = 64
MAX_ATTRIBUTE_TEXT = 512
#: Values of an attribute that is a list: each is a term in the index of the vector store.
MAX_ATTRIBUTE_ITEMS = 64


Query = Annotated[NonBlank, Field(max_length=MAX_QUERY_CHARACTERS)]


class SearchRequest(Scope):
    """Body of `POST /v1/rag/search`. If there are several queries, their rankings are fused into one."""

    query: Query | Annotated[list[Query], Field(min_length=1, max_length=MAX_QUERIES)]
    top_k: int | None = Field(None, ge=1, le=100)
    explain: bool = Field(
        False, description="Whether the answer says what each stage of the search took, and the ranks of each hit."
    )

    def queries(self) -> list[str]:
        """Return the queries as a list."""
        return [self.query] if isinstance(self.query, str) else self.query


class RagChatRequest(Scope, FormatFields, ReasoningFields):
    """Body of `POST /v1/rag/chat`. `messages` are those of the conversation before the query."""

    query: Query
    messages: Messages = []
    model: str | None = None
    max_tokens: int | None = Field(None, ge=1, lt=2**31)
    num_context_docs: int | None = Field(None, ge=1, le=100)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    def conversation(self) -> list[ChatMessage]:
        """Return the messages, with the query as the last one."""
        return [*(turn for message in self.messages for turn in message.turns()), ChatMessage("user", self.query)]


class TextsRequest(WireRequest):
    """Body of `POST /v1/rag/documents`. `metadata` has one object for each text."""

    texts: list[NonBlank] = Field(min_length=1, max_length=MAX_TEXTS)
    metadata: list[dict[str, Any]] | None = Field(None, max_length=MAX_TEXTS)
    collection: CollectionName = DEFAULT_COLLECTION

    @field_validator("metadata")
    @classmethod
    def _attributes(cls, value: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        return None if value is None else [checked_attributes(item) for item in value]


def checked_attributes(given: dict[str, Any]) -> dict[str, AttributeValue]:
    """Return the attributes of a document without those that are null.

    Raises:
        ValueError: there are too many, one is too long, or a value is not a string, a number, a boolean or a list of
            these.
    """
    if len(given) > MAX_ATTRIBUTES:
        raise ValueError(f"at most {MAX_ATTRIBUTES} keys for one document, not {len(given)}")
    for key, value in given.items():
        if not 0 < len(key) <= MAX_ATTRIBUTE_KEY:
            raise ValueError(f"the key {key[:80]!r} is empty or longer than {MAX_ATTRIBUTE_KEY} characters")
        if isinstance(value, list):
            if len(value) > MAX_ATTRIBUTE_ITEMS:
                raise ValueError(f"the list {key!r} has {len(value)} values; {MAX_ATTRIBUTE_ITEMS} are allowed")
            for position, item in enumerate(value):
                _check_attribute(f"{key}[{position}]", item)
        elif value is not None:
            _check_attribute(key, value)
    return {key: value for key, value in given.items() if value is not None}


def _check_attribute(name: str, value: Any) -> None:
    if isinstance(value, str) and len(value) > MAX_ATTRIBUTE_TEXT:
        raise ValueError(f"the value of {name!r} is longer than {MAX_ATTRIBUTE_TEXT} characters")
    if not isinstance(value, str | float | int):
        message = f"the value of {name!r} is neither a string nor a number nor a boolean; a list of these is allowed"
        raise ValueError(message)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"the value of {name!r} does not fit in 64 bits")


class Hit(WireAnswer):
    object: Literal["document.chunk"]
    document_id: str
    filename: str
    path: str | None
    collection: str
    chunk_index: int
    page: int | None
    last_page: int | None
    section: str | None
    start: int | None
    end: int | None
    text: str
    score: float
    dense_score: float | None
    sparse_score: float | None
    rerank_score: float | None
    attributes: dict[str, AttributeValue]
    highlights: list[Highlight]
    also_in: list[HitPlace]
    explanation: HitExplanation | None = None


class HitExplanation(WireAnswer):
    """The ranks of a hit, from 1, among the points that were fetched; null: it was not found by that score."""

    dense_rank: int | None = Field(description="By its cosine.")
    sparse_rank: int | None = Field(description="By BM25.")
    fused_rank: int | None = Field(description="By the score that both make.")
    rank: int | None = Field(description="After similar texts share a place, and reranking.")
    dense_weight: float | None = Field(description="The weight of the cosine in its score; BM25 has the rest.")


class SearchStage(WireAnswer):
    """A stage of a search."""

    name: str
    milliseconds: float
    points: int | None = Field(description="How many points it left; null: it does not say.")


class SearchScope(WireAnswer):
    """How the search in the collections of one embedding model makes scores."""

    dense_weight: float
    cosine_floor: float = Field(description="The cosine of unrelated texts, which counts as 0.")
    threshold: float = Field(description="The least cosine of a relevant chunk.")
    queries: int


class SearchExplanation(WireAnswer):
    """What the stages of a search took, in order, and its weights. In several models, times are added up."""

    object: Literal["search.explanation"]
    stages: list[SearchStage]
    scopes: list[SearchScope]


class SearchResults(WireAnswer):
    id: str
    object: Literal["list"]
    data: list[Hit]
    has_more: bool
    timings: Timings
    explanation: SearchExplanation | None = None


class RagCompletion(WireAnswer):
    id: str
    object: Literal["rag.completion"]
    created: int
    model: str
    answer: str
    #: What the model thought before it answered.
    reasoning_content: str | None = None
    finish_reason: FinishReason | None
    schema_errors: SchemaErrors = None
    #: Whether the documents hold what the question names and the answer says; if not, what is missing.
    grounded: bool | None = None
    missing: Missing | None = None
    sources: list[Source]
    usage: Usage
    timings: Timings


class DocumentSelection(WireRequest):
    """Body of `POST /v1/rag/documents/retry`, `/cancel` and `/reindex`. Without a `collection`, all are meant."""

    collection: CollectionName | None = None


class ChangedDocuments(WireAnswer):
    """The number of documents that were retried, cancelled or queued to be indexed again."""

    object: Literal["documents.retried", "documents.cancelled", "documents.reindexed"]
    count: int


class StageTimings(WireAnswer):
    """The milliseconds that the current version of a document spent in each stage, up to now in the current stage."""

    queued_ms: float | None
    parsing_ms: float | None
    index_wait_ms: float | None
    indexing_ms: float | None
    total_ms: float | None


class Progress(WireAnswer):
    """The progress of a document. `stalled` means that nobody works on it; `activity_reason` says why."""

    stage: Literal["queued", "parsing", "parsed", "indexing", "completed", "failed", "cancelled", "deleting", "deleted"]
    percent: int
    activity: Literal["waiting", "working", "stalled"] | None
    activity_reason: str | None
    chunks_indexed: int
    chunks_embedded: int
    searchable: bool
    stale: bool
    timings: StageTimings
    waiting_before: int | None = None


class Document(WireAnswer):
    """A document. `path` is relative to its watched folder, or the name that the client gave the file."""

    id: str
    object: Literal["document"]
    filename: str
    path: str | None
    collection: str
    source: Literal["upload", "text", "watch"]
    status: Literal["queued", "parsing", "indexing", "completed", "failed", "cancelled", "deleting", "deleted"]
    error: str | None
    error_code: str | None
    chunk_count: int
    size_bytes: int
    media_type: str | None
    attributes: dict[str, Any]
    #: What the parser found out about the file, such as the headers of an e-mail or the number of pages.
    properties: dict[str, str]
    created_at: int
    updated_at: int
    completed_at: int | None
    progress: Progress
    #: In the answer to an upload: whether this document existed already, so that nothing was added.
    duplicate: bool = False


class DocumentChunk(WireAnswer):
    """A chunk of a document. `header` is searched with the text, and is no part of it."""

    object: Literal["document.chunk"]
    index: int
    text: str
    start: int
    end: int
    page: int | None
    last_page: int | None
    section: str | None
    header: str


class DocumentChunks(WireAnswer):
    """The chunks of the generation that search sees; it is null if search does not see the document."""

    object: Literal["list"]
    data: list[DocumentChunk]
    has_more: bool
    generation: int | None


class DeletedDocument(WireAnswer):
    id: str
    object: Literal["document"]
    deleted: bool


class Job(WireAnswer):
    """An asynchronous job. `result` is the body with which its endpoint would have answered."""

    id: str
    object: Literal["job"]
    kind: str = Field(json_schema_extra={"enum": [kind.name for kind in all_kinds()]})
    endpoint: str
    status: Literal["queued", "running", "completed", "failed", "cancelled"]
    position: int | None
    estimated_start_seconds: float | None = Field(
        None, description="In how many seconds it will probably start; null: it does not wait, or that is not known."
    )
    created_at: int
    started_at: int | None
    finished_at: int | None
    result: Any
    error: dict[str, str | None] | None
