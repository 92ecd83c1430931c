"""The messages of a conversation that clients send."""

from __future__ import annotations

from json import dumps
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from api.schemas.base import EXTENSION, WireRequest
from core.messages import ChatMessage

#: Legacy calls have no id, but a chat template may require one.
LEGACY_CALL_ID = "call_function"
MAX_MESSAGES = 4096
#: Parts of contents, calls and results in all messages together.
MAX_PARTS = 8192


class TextPart(WireRequest):
    type: Literal["text"]
    text: str


class RefusalPart(WireRequest):
    """The text with which a model refused in an earlier answer."""

    type: Literal["refusal"]
    refusal: str

    @property
    def text(self) -> str:
        return self.refusal


ContentPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class CalledFunction(WireRequest):
    """The function that the model called. The arguments are JSON text, which may be empty, or an object."""

    name: str
    arguments: str | dict[str, Any] | None = ""

    def wire(self) -> dict[str, Any]:
        """Return the function in the form that chat templates expect."""
        return {"name": self.name, "arguments": self.arguments or ""}


class ToolCall(WireRequest):
    """A call for the client, from an earlier answer."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: CalledFunction

    @field_validator("type", mode="before")
    @classmethod
    def _function_if_empty(cls, value: Any) -> Any:
        return value or "function"  # some servers and clients write "" or null

    def wire(self) -> dict[str, Any]:
        """Return the call in the form that chat templates expect."""
        called = {"type": self.type, "function": self.function.wire()}
        return called if self.id is None else {"id": self.id, **called}


class ServerCall(WireRequest):
    """Extension: a call that the server ran, from an earlier answer."""

    id: str
    name: str
    arguments: str = ""
    result: Any = None
    error: str | None = None


class Message(WireRequest):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: CalledFunction | None = None
    tool_results: list[ServerCall] | None = Field(None, json_schema_extra=EXTENSION)
    reasoning_content: Any = Field(
        None,
        description="Extension: what the model thought before this answer, for templates that show it to the model.",
        json_schema_extra=EXTENSION,
    )
    reasoning: Any = Field(None, description="Extension: another name of it.", json_schema_extra=EXTENSION)

    @field_validator("content", mode="before")
    @classmethod
    def _only_text(cls, value: Any) -> Any:
        for part in value if isinstance(value, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if kind not in ("text", "refusal"):
                raise ValueError(f"content parts of type {kind!r} are not supported; this server takes text only")
        return value

    @model_validator(mode="after")
    def _has_content(self) -> Message:
        if self.content is None and self.role not in ("assistant", "tool", "function"):
            raise ValueError(f"a message of role {self.role!r} needs content")
        return self

    def flattened(self) -> ChatMessage:
        """Return the message with its text parts joined and legacy calls and results converted to the current form."""
        content = "".join(part.text for part in self.content) if isinstance(self.content, list) else self.content
        content = content or (self.refusal if self.role == "assistant" else None) or content
        if content is None and not (self.tool_calls or self.function_call):
            content = ""  # only a message with calls can be without
        role, calls = "tool" if self.role == "function" else self.role, None
        if self.tool_calls:
            calls = [call.wire() for call in self.tool_calls]
        elif self.function_call is not None:
            calls = [{"id": LEGACY_CALL_ID, "type": "function", "function": self.function_call.wire()}]
        call_id = LEGACY_CALL_ID if self.role == "function" else self.tool_call_id
        return ChatMessage(role, content, self.name, call_id, calls, self._thought())

    def _thought(self) -> str | None:
        """Return the reasoning of an answer. In other forms than text, which other servers have, it is ignored."""
        found = (one for one in (self.reasoning_content, self.reasoning) if isinstance(one, str) and one.strip())
        return next(found, None) if self.role == "assistant" else None

    def turns(self) -> list[ChatMessage]:
        """Return the calls that the server ran for this message with their results, followed by the message."""
        message, ran = self.flattened(), self.tool_results if self.role == "assistant" else None
        if not ran:
            return [message]
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in ran
        ]
        contents = ((call, call.result if call.error is None else {"error": call.error}) for call in ran)
        results = (
            ChatMessage("tool", dumps(content, ensure_ascii=False), call.name, call.id) for call, content in contents
        )
        rest = [message] if message.content or message.tool_calls else []
        return [ChatMessage("assistant", tool_calls=calls, reasoning=message.reasoning), *results, *rest]


def _check_counts(value: Any) -> Any:
    """Refuse more messages than any context holds before they are validated one by one, which blocks other requests."""
    if isinstance(value, list):
        if len(value) > MAX_MESSAGES:
            raise ValueError(f"at most {MAX_MESSAGES} messages, not {len(value)}")
        lists = (field for message in value if isinstance(message, dict) for field in message.values())
        parts = sum(len(field) for field in lists if isinstance(field, list))
        if parts > MAX_PARTS:
            raise ValueError(f"at most {MAX_PARTS} parts, calls and results in all messages, not {parts}")
    return value


Messages = Annotated[list[Message], BeforeValidator(_check_counts)]
