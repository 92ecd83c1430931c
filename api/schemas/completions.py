"""`/v1/completions`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from api.schemas.base import EXTENSION, Usage, WireAnswer
from api.schemas.chat import SamplingFields, SchemaErrors, unsupported
from core.errors import InvalidRequest
from core.messages import SamplingParams
from core.settings import Settings

#: Choices of one request: its prompts times `n`.
MAX_COMPLETIONS = 256
MAX_TOKEN_ID = 2**31
#: Token ids of one request. More than any prompt has: to check each of millions takes time from other requests.
MAX_TOKEN_IDS = 2**18
#: As in the older API, whose clients expect a completion to be short unless they ask for more.
DEFAULT_MAX_TOKENS = 16


class CompletionRequest(SamplingFields):
    """Body of `POST /v1/completions`. The model continues each prompt, without a chat template."""

    prompt: str | list[str] | list[int] | list[list[int]] = Field(
        description="A text, its token ids, or a list of either."
    )
    suffix: str | None = None
    echo: bool | None = None
    best_of: int | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    max_tokens: int | None = Field(None, ge=0, lt=2**31)
    add_special_tokens: bool | None = Field(
        None,
        description="Extension: whether a text begins with the vocabulary's first token (default: true).",
        json_schema_extra=EXTENSION,
    )
    response_format: Any = Field(None, description="Refused.")

    @field_validator("prompt", mode="before")
    @classmethod
    def _of_one_kind(cls, value: Any) -> Any:
        if not isinstance(value, str | list):
            raise ValueError("it must be a string, a list of strings, a list of token ids or a list of such lists")
        if isinstance(value, list):
            _check_items(value)
        return value

    def check(self) -> None:
        """Raise InvalidRequest for parameters that this server does not support or that contradict each other."""
        self.check_stream_options()
        if self.response_format is not None:
            raise unsupported("response_format", "'response_format' is for chats; use 'guided_json' here.")
        if (self.best_of or 1) > (self.n or 1):
            raise unsupported("best_of", "'best_of' is not supported beyond 'n': the server returns all that it makes.")
        if self.suffix and self.echo:
            raise InvalidRequest("'echo' cannot be combined with 'suffix'.", param="echo")
        if len(self.prompts()) * (self.n or 1) > MAX_COMPLETIONS:
            raise InvalidRequest(
                f"{len(self.prompts())} prompts with 'n' {self.n or 1} each are more than the {MAX_COMPLETIONS} "
                "completions that a request may have.",
                param="n" if self.n and self.n > 1 else "prompt",
            )

    def prompts(self) -> list[str | list[int]]:
        """Return the prompts as a list of texts or of lists of token ids."""
        if isinstance(self.prompt, str) or isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)

    @property
    def completion_tokens(self) -> int:
        """The most tokens of a completion."""
        return DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens

    def completion_sampling(self, settings: Settings) -> SamplingParams:
        """Return the sampling parameters, with the log probabilities that the request wants."""
        return self.sampling(settings, logprobs=self.logprobs is not None, top_logprobs=self.logprobs or 0)


def _check_items(items: list[Any]) -> None:
    if not items:
        raise ValueError("it must not be an empty list")
    ids = len(items) if type(items[0]) is int else sum(len(item) for item in items if isinstance(item, list))
    if ids > MAX_TOKEN_IDS:
        raise ValueError(f"at most {MAX_TOKEN_IDS} token ids in all, not {ids}")
    if type(items[0]) is int:
        _check_ids(items)
        return
    if len(items) > MAX_COMPLETIONS:
        raise ValueError(f"at most {MAX_COMPLETIONS} prompts, not {len(items)}")
    kind = str if isinstance(items[0], str) else list
    for index, item in enumerate(items):
        if not isinstance(item, kind):
            raise ValueError(f"item {index} is neither a text nor a list of token ids, or not what item 0 is")
        if isinstance(item, list):
            _check_ids(item)


def _check_ids(ids: list[Any]) -> None:
    if not ids or not all(type(token) is int and 0 <= token < MAX_TOKEN_ID for token in ids):
        raise ValueError("a list of token ids has whole numbers, 0 or greater, at least one")


class LegacyLogprobs(WireAnswer):
    """Log probabilities, with an entry of each list for each token. The first of a prompt has none."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class TextChoice(WireAnswer):
    index: int
    text: str
    logprobs: LegacyLogprobs | None
    finish_reason: Literal["stop", "length"]
    schema_errors: SchemaErrors = None


class TextCompletion(WireAnswer):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
