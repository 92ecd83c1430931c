"""`/v1/chat/completions`, and the sampling parameters that it shares with `/v1/completions`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic.config import JsonDict

from api.schemas.answer_format import AnswerFormat, FormatFields, only_format
from api.schemas.base import EXTENSION, Timings, Usage, WireAnswer, WireRequest
from api.schemas.hits import Highlight, HitPlace
from api.schemas.messages import Messages
from api.schemas.prompt_end import PromptEndFields
from api.schemas.reasoning import ReasoningFields
from api.schemas.scope import Scope
from api.schemas.tools import (
    MAX_TOOL_ROUNDS,
    MAX_TOOLS,
    FunctionDefinition,
    FunctionName,
    ResponseFormat,
    SchemaFormat,
    ServerTools,
    Tool,
    ToolChoiceObject,
    ToolUse,
    answer_schema,
    function_use,
    tool_use,
)
from core.errors import InvalidRequest
from core.messages import DEFAULT_TOOL_ROUNDS, AttributeValue, SamplingParams
from core.settings import Settings

MAX_CHOICES = 16
MAX_STOP_STRINGS = 16
MAX_LOGIT_BIASES = 4096
DEPRECATED: JsonDict = {"deprecated": True}
INT64 = 2**63
#: Sampling parameters that are passed to the engine as they are, if the request has them.
SAMPLING_NAMES = (
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "presence_penalty",
    "frequency_penalty",
    "repeat_penalty",
    "seed",
)

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]


class StreamOptions(WireRequest):
    include_usage: bool | None = None


class SamplingFields(FormatFields):
    """The sampling parameters that chat and completions share. Those from `top_k` to `ignore_eos` are extensions."""

    model: str | None = Field(
        None,
        description="Any name is served by the loaded model, unless STRICT_MODELS is set. MODEL@COLLECTION answers from"
        " the documents of a collection.",
    )
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    stop: str | list[str] | None = None
    logit_bias: dict[str, FiniteFloat] | None = None
    seed: int | None = Field(None, ge=-INT64, lt=INT64)
    top_k: int | None = Field(None, ge=-1, lt=2**31, description="0 and -1: all tokens.", json_schema_extra=EXTENSION)
    min_p: float | None = Field(None, ge=0, le=1, json_schema_extra=EXTENSION)
    typical_p: float | None = Field(None, gt=0, le=1, json_schema_extra=EXTENSION)
    repeat_penalty: float | None = Field(None, gt=0, le=10, json_schema_extra=EXTENSION)
    ignore_eos: bool | None = Field(None, json_schema_extra=EXTENSION)
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, lt=2**31)

    @field_validator("stop")
    @classmethod
    def _usable_stops(cls, value: str | list[str] | None) -> str | list[str] | None:
        stops = [value] if isinstance(value, str) else value or []
        if len(stops) > MAX_STOP_STRINGS or not all(stops):
            raise ValueError(f"at most {MAX_STOP_STRINGS} stop strings, none of them empty")
        return value

    @field_validator("logit_bias", mode="before")
    @classmethod
    def _few_biases(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > MAX_LOGIT_BIASES:
            raise ValueError(f"at most {MAX_LOGIT_BIASES} tokens, not {len(value)}")
        return value

    @field_validator("logit_bias")
    @classmethod
    def _token_biases(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for token, bias in (value or {}).items():
            if not (token.isascii() and token.isdecimal() and len(token) < 10):
                raise ValueError(f"{token!r} is not a token id")
            if not -100 <= bias <= 100:
                raise ValueError(f"the bias of token {token} must be between -100 and 100")
        return value

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def check_stream_options(self) -> None:
        """Raise InvalidRequest if there are `stream_options` but nothing is streamed."""
        if self.stream_options is not None and not self.stream:
            raise InvalidRequest("'stream_options' is only allowed when 'stream' is true.", param="stream_options")

    def sampling(self, settings: Settings, *, logprobs: bool = False, top_logprobs: int = 0) -> SamplingParams:
        """Return the sampling parameters, with the server's defaults for those that the request does not set."""
        given = {name: value for name in SAMPLING_NAMES if (value := getattr(self, name)) not in (None, -1)}
        return SamplingParams(
            temperature=settings.temperature if self.temperature is None else self.temperature,
            logit_bias={int(token): bias for token, bias in (self.logit_bias or {}).items()},
            stop=[self.stop] if isinstance(self.stop, str) else self.stop or [],
            ignore_eos=bool(self.ignore_eos),
            logprobs=logprobs,
            top_logprobs=top_logprobs,
            **given,
        )


class RagOptions(Scope):
    """Extension: answer from the documents. `top_k` chunks are retrieved from `collection`, or from all collections."""

    top_k: int | None = Field(None, ge=1, le=100)


class ChatRequest(PromptEndFields, ReasoningFields, SamplingFields):
    """Body of `POST /v1/chat/completions`."""

    messages: Messages = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, lt=2**31)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[Tool] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | ToolChoiceObject | None = None
    parallel_tool_calls: bool | None = None
    functions: list[FunctionDefinition] | None = Field(None, max_length=MAX_TOOLS, json_schema_extra=DEPRECATED)
    function_call: Literal["none", "auto"] | FunctionName | None = Field(None, json_schema_extra=DEPRECATED)
    response_format: ResponseFormat | None = None
    modalities: list[str] | None = None
    audio: Any = None
    web_search_options: Any = None
    moderation: Any = None
    server_tools: ServerTools | None = Field(
        None,
        description="Extension: names of registered functions that the server runs (GET /v1/functions), or 'all'.",
        json_schema_extra=EXTENSION,
    )
    max_tool_rounds: int | None = Field(
        None,
        ge=1,
        le=MAX_TOOL_ROUNDS,
        description=f"Extension: rounds in which the model may call 'server_tools' (default: {DEFAULT_TOOL_ROUNDS}).",
        json_schema_extra=EXTENSION,
    )
    rag: RagOptions | None = Field(None, json_schema_extra=EXTENSION)

    def check(self) -> None:
        """Raise InvalidRequest for parameters that this server does not support or that contradict each other."""
        self.check_stream_options()
        form = self.answer_format()
        if self.stop and form is not None:
            raise InvalidRequest(f"'stop' would cut the answer that '{form.param}' asks for.", param="stop")
        if form is not None and form.pattern and (self.tools or self.functions or self.server_tools):
            raise InvalidRequest(f"'{form.param}' cannot be combined with functions.", param=form.param)
        if self.modalities not in (None, ["text"]):
            raise unsupported("modalities", "Only the modality 'text' is supported.")
        for name in ("audio", "web_search_options", "moderation"):
            if getattr(self, name):
                raise unsupported(name)
        if self.server_tools and (self.n or 1) > 1:
            raise InvalidRequest("'n' must be 1 with 'server_tools'.", param="n")
        if self.top_logprobs and not self.logprobs:
            raise InvalidRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")

    def tool_use(self) -> ToolUse:
        """Return the tools that the answer may call.

        Raises:
            InvalidRequest: a declaration or the choice of a tool is invalid.
        """
        if self.tools and self.functions:
            raise InvalidRequest("'functions' is the older form of 'tools'; send only one of them.", param="functions")
        server = self.server_tools if self.server_tools == "all" else list(dict.fromkeys(self.server_tools or ()))
        legacy = function_use(self.functions, self.function_call, server if self.functions else [])
        current = tool_use(self.tools, self.tool_choice, server, parallel=self.parallel_tool_calls)
        return legacy if self.functions else current

    def answer_format(self) -> AnswerFormat | None:
        """Return the format of the answer, or None for any text.

        Raises:
            InvalidRequest: there are several formats, or one cannot be enforced.
        """
        schema = answer_schema(self.response_format)
        form = self.response_format
        strict = isinstance(form, SchemaFormat) and bool(form.json_schema.strict)
        own = [] if schema is None else [AnswerFormat("response_format", schema, strict=strict)]
        return only_format([*own, *self.formats()])

    @property
    def answer_tokens(self) -> int | None:
        """The most tokens that the answer may have; None means the server's setting."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    def last_question(self) -> str:
        """Return the text of the last user message. Raise InvalidRequest if there is none."""
        for message in reversed(self.messages):
            if message.role == "user" and (text := message.flattened().content):
                return text
        raise InvalidRequest("Retrieval needs a message of role 'user'.", param="messages")


def unsupported(param: str, message: str | None = None) -> InvalidRequest:
    """Return the error for a parameter that would change the answer and that this server does not support."""
    return InvalidRequest(message or f"'{param}' is not supported.", param=param, code="unsupported_parameter")


class TopLogprob(WireAnswer):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(WireAnswer):
    content: list[TokenLogprob] | None
    refusal: list[TokenLogprob] | None


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class CalledFunction(WireAnswer):
    """A called function. `arguments` is the text of a JSON object that matches the function's schema."""

    name: str
    arguments: str


class ToolCall(WireAnswer):
    id: str
    type: Literal["function"]
    function: CalledFunction


class ToolResult(WireAnswer):
    """A call that the server ran. `error` says why there is no `result`; both are null if the call did not finish."""

    id: str
    name: str
    arguments: str
    result: Any
    error: str | None


class AssistantMessage(WireAnswer):
    role: Literal["assistant"]
    content: str | None
    reasoning_content: str | None = Field(
        None,
        description="Extension: what the model thought before it answered. In a stream, 'delta.reasoning_content' has"
        " it in pieces.",
        json_schema_extra=EXTENSION,
    )
    refusal: str | None
    tool_calls: list[ToolCall] | None = None
    function_call: CalledFunction | None = Field(None, description="The legacy form, if 'functions' were sent.")
    tool_results: list[ToolResult] | None = Field(
        None,
        description="Extension: the calls that the server ran for this answer ('server_tools'). In a stream,"
        " 'delta.tool_results' has each call once with its 'index', then its arguments in pieces, and at last its"
        " 'result' and 'error'.",
        json_schema_extra=EXTENSION,
    )


SchemaErrors = Annotated[
    list[str] | None,
    Field(
        description="Extension: what the answer violates of its schema, as far as that could not be enforced.",
        json_schema_extra=EXTENSION,
    ),
]

Grounded = Annotated[
    bool | None,
    Field(
        description="Extension: whether the documents hold what the question names and the answer says. Only answers"
        " from documents have it; in a stream, the chunk with the 'finish_reason'.",
        json_schema_extra=EXTENSION,
    ),
]


class Missing(WireAnswer):
    """What the documents lack of an answer that is not grounded."""

    #: Names, numbers and other words of the question.
    question: list[str]
    #: Sentences of the answer.
    answer: list[str]


class ChatChoice(WireAnswer):
    index: int
    message: AssistantMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason
    schema_errors: SchemaErrors = None
    grounded: Grounded = None
    missing: Missing | None = Field(None, json_schema_extra=EXTENSION)


class Source(WireAnswer):
    """A chunk that the answer is based on. `file` is the path, or the file name if there is no path."""

    index: int
    file: str
    filename: str
    path: str | None
    document_id: str
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


class ChatCompletion(WireAnswer):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str | None
    timings: Timings = Field(json_schema_extra=EXTENSION)
    sources: list[Source] | None = Field(
        None, description="Extension: the chunks that a RAG chat is based on.", json_schema_extra=EXTENSION
    )
