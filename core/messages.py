"""Requests of jobs, as the job's record stores them. Celery messages carry only the job's id."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Priority = Literal["interactive", "batch"]
#: `auto`: the model may call tools; `required`: it must. Meaningless without tools.
ToolChoice = Literal["auto", "required"]
DEFAULT_TOOL_ROUNDS = 5
#: How a chat's prompt ends: where the model's answer begins (`answer`), within the last message, which the model
#: continues (`continued`), or after the last message (`nothing`).
PromptEnd = Literal["answer", "continued", "nothing"]


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation, its content already flattened to text."""

    role: str
    content: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    #: What the model thought before this message.
    reasoning: str | None = None


class SamplingParams(msgspec.Struct, frozen=True, omit_defaults=True):
    """How tokens are chosen. `temperature` 0 is greedy."""

    temperature: float = 0.2
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None
    logit_bias: dict[int, float] = {}
    logprobs: bool = False
    top_logprobs: int = 0
    ignore_eos: bool = False
    stop: list[str] = []


FilterType = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "and", "or"]
FilterValue = str | int | float | bool
#: The value of a document's attribute. A filter holds for a list if it holds for one of its elements.
AttributeValue = FilterValue | list[FilterValue]


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition on documents: a comparison of `key` with `value` (a list for `in` and `nin`; a number or a date for
    `gt`, `gte`, `lt` and `lte`), or `and` or `or` over `filters`.

    The keys `document_id`, `filename`, `path` and `type` are properties of the document; any other key is one of its
    attributes. `attributes.NAME` reaches an attribute that has one of these four names.
    """

    type: FilterType
    key: str = ""
    value: FilterValue | list[FilterValue] = ""
    filters: list[Filter] = []


class SearchOptions(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What to search, and how many hits to return."""

    top_k: int
    #: Empty: all collections.
    collections: list[str] = []
    #: Lowest dense cosine similarity of a hit; None: the server's default.
    score_threshold: float | None = None
    filters: Filter | None = None
    #: How much a hit's similarity to the hits before it lowers its rank, from 0 (not at all) to 1.
    diversity: float = 0.0
    #: Chunks before and after each hit that are merged into its text.
    neighbours: int = 0
    #: None: rerank if there is a model for it.
    rerank: bool | None = None
    #: Whether hits come with the rest of the paragraphs that they are cut out of.
    paragraphs: bool = False


class RagOptions(SearchOptions, frozen=True, omit_defaults=True, kw_only=True):
    """The retrieval part of a RAG chat."""

    query: str
    #: Hits whose score is below this share of the best one's are left out.
    least_share: float = 0.0


class AnswerFormatFields(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The format that an answer must have; without a schema or a pattern, any text is an answer."""

    #: The schema that the answer's JSON must match; `{"type": "object"}` allows any object.
    answer_schema: dict[str, Any] | None = None
    #: Whether that schema must be enforced completely, or the request is refused.
    strict_answer: bool = False
    #: The regular expression that the whole answer must match.
    answer_pattern: str | None = None
    #: The request's field that has this schema or pattern, for errors.
    format_param: str = "response_format"


class GenerateRequest(AnswerFormatFields, frozen=True, omit_defaults=True):
    """A chat or RAG-chat job. With `rag`, the worker puts the hits before the last user message."""

    messages: list[ChatMessage]
    sampling: SamplingParams = SamplingParams()
    max_tokens: int | None = None
    n: int = 1
    model: str | None = None
    rag: RagOptions | None = None
    #: Functions that the client runs, each `{"type": "function", "function": {name, description, parameters}}`.
    tools: list[dict[str, Any]] = []
    tool_choice: ToolChoice = "auto"
    #: The one function that must be called.
    tool_name: str | None = None
    parallel_tool_calls: bool = True
    #: The names of the only functions that may be called; empty: all.
    allowed_tools: list[str] = []
    #: The names of the functions whose schemas must be enforced completely, or the request is refused.
    strict_tools: list[str] = []
    #: Names of registered functions that the server runs; "all" omits those that share a name with a client's tool.
    server_tools: list[str] | Literal["all"] = []
    #: How many rounds of such calls the model may make before it has to answer.
    max_tool_rounds: int = DEFAULT_TOOL_ROUNDS
    #: The only collections that retrieval and functions may read; None: all.
    within: list[str] | None = None
    #: Values for the chat template, such as `enable_thinking` and `reasoning_effort`.
    template_options: dict[str, Any] = {}
    prompt_end: PromptEnd = "answer"


class CompleteRequest(AnswerFormatFields, frozen=True, omit_defaults=True, kw_only=True):
    """A raw completion: the model continues each prompt, a text or its token ids, without a chat template.

    Choice `p * n + i` is the i-th completion of prompt p.
    """

    prompts: list[str | list[int]]
    sampling: SamplingParams = SamplingParams()
    #: The most tokens of a completion; 0: none is generated, which is of use with `echo`.
    max_tokens: int
    n: int = 1
    model: str | None = None
    #: The text that comes after the completion, which fills the middle between it and the prompt.
    suffix: str | None = None
    #: Whether the answer begins with the prompt. With logprobs, those of the prompt's tokens are computed too.
    echo: bool = False
    #: Whether a text begins with the vocabulary's beginning-of-sequence token, if it has one that begins texts.
    add_special_tokens: bool = True


class TokenizeRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that returns the token ids of a text, or of the prompt of a chat."""

    text: str | None = None
    #: Whether control tokens that the text spells out are recognised.
    parse_special: bool = True
    #: Whether the text begins with the vocabulary's beginning-of-sequence token. A chat's prompt always does.
    add_special_tokens: bool = True
    #: Whether the answer has the text of each token too.
    token_texts: bool = False
    messages: list[ChatMessage] = []
    tools: list[dict[str, Any]] = []
    prompt_end: PromptEnd = "answer"
    model: str | None = None


class DetokenizeRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that returns the text of tokens."""

    tokens: list[int]
    model: str | None = None


class EmbedRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """An embeddings job. An input is a text, or the token ids of one in the embedding model's vocabulary."""

    inputs: list[str | list[int]]
    purpose: Literal["query", "document", "plain"] = "plain"
    dimensions: int | None = None
    #: A name that is not that of a loaded model means the default model.
    model: str | None = None


class RerankRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that scores texts by how well each answers a query."""

    query: str
    documents: list[str]
    #: How many results, best first; None: one for each document.
    top_n: int | None = None
    #: Whether the results have the texts of their documents too.
    return_documents: bool = False


class SearchRequest(SearchOptions, frozen=True, omit_defaults=True, kw_only=True):
    """A search job. The rankings of several queries are fused into one."""

    queries: list[str]
    #: The only collections that the search may read; None: all.
    within: list[str] | None = None
    #: Whether the result says what each stage took, and the ranks of its hits.
    explain: bool = False


class EvaluatedQuestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question and what a search should find for it: documents, by path, file name or id, and passages, by text."""

    question: str
    files: list[str] = []
    passages: list[str] = []


class EvaluatedSetting(SearchOptions, frozen=True, omit_defaults=True, kw_only=True):
    """The options of a search, with a name for the report."""

    name: str


class EvaluateRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A job that searches for all questions with each setting, and measures what is found."""

    questions: list[EvaluatedQuestion]
    settings: list[EvaluatedSetting]
    #: The only collections that the searches may read; None: all.
    within: list[str] | None = None


class PullRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that downloads a model from the hub."""

    #: `REPO`, `REPO:FILE` or `REPO:QUANT`.
    model: str


class DocumentsRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """An asynchronous job that ends when all these documents are completed or failed."""

    document_ids: list[str]


class Highlight(msgspec.Struct, frozen=True):
    """A sentence of a hit: `hit.text[start:end] == text`."""

    text: str
    start: int
    end: int


class HitPlace(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another place with nearly the same text as a hit."""

    document_id: str
    chunk_index: int
    filename: str
    collection: str
    path: str | None = None
    page: int | None = None
    section: str | None = None


class Hit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A chunk that was found. `score` is the fused score, `dense_score` the cosine similarity, `sparse_score` the BM25
    score and `rerank_score` the cross-encoder's.

    `start` and `end` are character offsets in the document's extracted text.
    `header` is what the text is about as far as it does not say it itself, or empty: the title of the document, the
    headings above, and the column names of a table that began earlier. It is no part of the text.
    """

    document_id: str
    chunk_index: int
    text: str
    score: float
    filename: str
    collection: str
    path: str | None = None
    dense_score: float | None = None
    sparse_score: float | None = None
    rerank_score: float | None = None
    page: int | None = None
    section: str | None = None
    start: int | None = None
    end: int | None = None
    attributes: dict[str, AttributeValue] = {}
    last_page: int | None = None
    header: str = ""
    #: The sentences that answer best, best first.
    highlights: list[Highlight] = []
    #: Where else nearly the same text is: it takes one place among the hits.
    also_in: list[HitPlace] = []
    #: The rest of the paragraphs that the text begins and ends in, if the search was asked for it.
    before: str = ""
    after: str = ""


class Grounding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sources of an answer lack: words of the question, and support for sentences of the answer."""

    words: list[str] = []
    sentences: list[str] = []

    @property
    def is_grounded(self) -> bool:
        return not self.words and not self.sentences


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts of a job."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    #: The tokens, of those above, that rewriting a follow-up question took, its prompt included.
    rewrite_tokens: int = 0
    #: The tokens, of `completion_tokens`, that are reasoning.
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            rewrite_tokens=self.rewrite_tokens + other.rewrite_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


class Timings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the time went, in milliseconds."""

    queue_ms: float = 0.0
    prompt_ms: float = 0.0
    generation_ms: float = 0.0
    retrieval_ms: float = 0.0


class TokenLogprob(msgspec.Struct, frozen=True):
    """A chosen token with its log probability and the best alternatives (token text, bytes, logprob).

    `logprob` is None for the first token of an echoed prompt, which nothing precedes.
    """

    token: str
    logprob: float | None
    bytes: list[int]
    top: list[tuple[str, float, list[int]]] = []
