"""`/v1/tokenize` and `/v1/detokenize`, as vLLM has them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.schemas.base import EXTENSION, WireAnswer, WireRequest
from api.schemas.completions import MAX_TOKEN_IDS
from api.schemas.messages import Messages
from api.schemas.prompt_end import PromptEndFields
from api.schemas.tools import MAX_TOOLS, Tool
from core.errors import InvalidRequest


class TokenizeBody(PromptEndFields):
    """Body of `POST /v1/tokenize`: a text (`prompt`), or the `messages` of a chat, whose prompt is tokenised."""

    model: str | None = None
    prompt: str | None = None
    messages: Messages | None = Field(None, min_length=1)
    tools: list[Tool] | None = Field(None, max_length=MAX_TOOLS)
    add_special_tokens: bool | None = Field(
        None, description="Whether a 'prompt' begins with the vocabulary's first token (default: true)."
    )
    parse_special: bool | None = Field(
        None,
        description="Extension (llama.cpp): whether control tokens that a 'prompt' spells out are recognised (default:"
        " true).",
        json_schema_extra=EXTENSION,
    )
    return_token_strs: bool | None = None

    def check(self) -> None:
        """Raise InvalidRequest unless there is either a text or a chat."""
        if (self.prompt is None) == (self.messages is None):
            raise InvalidRequest("Send either 'prompt' or 'messages'.", param="prompt")
        if self.prompt is not None:
            for name in ("tools", "continue_final_message", "add_generation_prompt"):
                if getattr(self, name) is not None:
                    raise InvalidRequest(f"'{name}' is for 'messages', not for 'prompt'.", param=name)
        elif self.parse_special is not None:
            raise InvalidRequest(
                "'parse_special' is for 'prompt': control tokens in 'messages' are always text.", param="parse_special"
            )


class DetokenizeBody(WireRequest):
    """Body of `POST /v1/detokenize`."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(max_length=MAX_TOKEN_IDS)


class TokenList(WireAnswer):
    """The tokens of a prompt. `max_model_len` is what a prompt and its answer may have together."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizedText(WireAnswer):
    prompt: str
