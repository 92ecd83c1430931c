"""The messages of a conversation that clients send."""

from __future__ import annotations

from json import dumps
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from api.schemas.base import EXTENSION, WireRequest
from api.schemas.tools import FunctionCall
from core.messages import ChatMessage

#: Legacy calls have no id, but a chat template may require one.
LEGACY_CALL_ID = "call_function"


class TextPart(WireRequest):
    type: Literal["text"]
    text: str


class CalledFunction(WireRequest):
    """The function that the model called. The arguments are JSON text, which may be empty, or an object."""

    name: str
    arguments: str | dict[str, Any] | None = ""


class ToolCall(WireRequest):
    """A call for the client, from an earlier answer."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: CalledFunction

    def wire(self) -> dict[str, Any]:
        """Return the call in the form that chat templates expect."""
        called = {"type": self.type, "function": {**self.function.model_dump(), "arguments": self._arguments}}
        return called if self.id is None else {"id": self.id, **called}

    @property
    def _arguments(self) -> str | dict[str, Any]:
        return self.function.arguments or ""


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
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None
    tool_results: list[ServerCall] | None = Field(None, json_schema_extra=EXTENSION)

    @field_validator("content", mode="before")
    @classmethod
    def _only_text(cls, value: Any) -> Any:
        for part in value if isinstance(value, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if kind != "text":
                raise ValueError(f"content parts of type {kind!r} are not supported; this server takes text only")
        return value

    @model_validator(mode="after")
    def _has_content(self) -> Message:
        calls = self.tool_calls or self.function_call or self.tool_results
        if self.content is None and not (self.role == "assistant" and calls):
            raise ValueError(f"a message of role {self.role!r} needs content")
        return self

    def flattened(self) -> ChatMessage:
        """Return the message with its text parts joined and legacy calls and results converted to the current form."""
        content = "".join(part.text for part in self.content) if isinstance(self.content, list) else self.content
        role, calls = "tool" if self.role == "function" else self.role, None
        if self.tool_calls:
            calls = [call.wire() for call in self.tool_calls]
        elif self.function_call is not None:
            calls = [{"id": LEGACY_CALL_ID, "type": "function", "function": self.function_call.model_dump()}]
        call_id = LEGACY_CALL_ID if self.role == "function" else self.tool_call_id
        return ChatMessage(role, content, self.name, call_id, calls)

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
        return [ChatMessage("assistant", tool_calls=calls), *results, *rest]
