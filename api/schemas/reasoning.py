"""How much a model thinks before it answers: the fields of requests."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.schemas.base import EXTENSION, WireRequest

MAX_TEMPLATE_OPTIONS = 32


class ReasoningFields(WireRequest):
    """Values for the chat template of the model. One that knows none of them ignores them."""

    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    chat_template_kwargs: dict[str, Any] | None = Field(
        None,
        max_length=MAX_TEMPLATE_OPTIONS,
        description="Extension: values for the chat template, such as 'enable_thinking'.",
        json_schema_extra=EXTENSION,
    )

    def template_options(self) -> dict[str, Any]:
        """Return the values for the chat template."""
        effort = {} if self.reasoning_effort is None else {"reasoning_effort": self.reasoning_effort}
        return {**effort, **(self.chat_template_kwargs or {})}
