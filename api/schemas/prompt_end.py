"""How the prompt of a chat ends: vLLM's fields, with which a client begins the answer itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field

from api.schemas.base import EXTENSION, WireRequest
from api.schemas.messages import Message
from core.errors import InvalidRequest
from core.messages import PromptEnd

CONTINUE = "continue_final_message"


class PromptEndFields(WireRequest):
    """Extensions: whether the model continues the last message, or begins a new one."""

    continue_final_message: bool | None = Field(
        None,
        description="Extension: the last message, of role 'assistant', is the beginning of the answer. The answer has"
        " what follows it.",
        json_schema_extra=EXTENSION,
    )
    add_generation_prompt: bool | None = Field(
        None,
        description="Extension: end the prompt where the assistant's message begins (the default, unless"
        " 'continue_final_message' is true).",
        json_schema_extra=EXTENSION,
    )
    messages: list[Message] | None

    def prompt_end(self) -> PromptEnd:
        """Return how the prompt ends.

        Raises:
            InvalidRequest: the last message cannot be continued, or the fields contradict each other.
        """
        if not self.continue_final_message:
            return "nothing" if self.add_generation_prompt is False else "answer"
        if self.add_generation_prompt:
            raise InvalidRequest(
                f"'add_generation_prompt' must be false with '{CONTINUE}': it begins a new message.",
                param="add_generation_prompt",
            )
        _check_continuable(self.messages or [])
        return "continued"


def _check_continuable(messages: Sequence[Message]) -> None:
    last = messages[-1]
    if last.role != "assistant":
        raise InvalidRequest(
            f"'{CONTINUE}' needs a last message of role 'assistant', not {last.role!r}.", param=CONTINUE
        )
    if last.tool_calls or last.function_call or last.tool_results:
        raise InvalidRequest(f"'{CONTINUE}' needs a last message without calls.", param=CONTINUE)
    if not (last.flattened().content or "").strip():
        raise InvalidRequest(f"'{CONTINUE}' needs a last message with text to continue.", param=CONTINUE)


def refuse_with_continuation(names: Iterable[str]) -> None:
    """Raise InvalidRequest if there is a field among `names`, which an answer that is continued cannot have."""
    for name in names:
        raise InvalidRequest(
            f"'{CONTINUE}' cannot be combined with '{name}', which is about the whole answer.", param=CONTINUE
        )
