"""The interface of a call format: its grammar, its parser, and the messages that its templates take."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from core.messages import ChatMessage, ToolChoice
from inference.grammars import lark

#: The most calls in one answer, because small models do not know when to stop.
MAX_PARALLEL_CALLS = 8
#: The first stand-in for a control token in the text between engine and parser: lone surrogates, which decoded text
#: never contains.
FIRST_MARK = 0xD800
#: The call with which templates are probed, and its function.
PROBE_NAME, PROBE_ARGUMENTS, PROBE_ID = "probe_function", {"probe": 1}, "probe0001"
PROBE_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": PROBE_NAME,
        "description": "A probe.",
        "parameters": {"type": "object", "properties": {"probe": {"type": "integer"}}},
    },
}


@dataclass(frozen=True)
class Text:
    """Text for the user."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """Call number `index` of an answer; `arguments` is a JSON object as text, as in OpenAI's wire format."""

    index: int
    name: str
    arguments: str

    @property
    def is_probe(self) -> bool:
        """Whether this is the call with which templates are probed."""
        try:
            return self.name == PROBE_NAME and bool(json.loads(self.arguments) == PROBE_ARGUMENTS)
        except ValueError:
            return False


@dataclass(frozen=True)
class BegunCall:
    """Call number `index` of an answer, which has not ended. `written` begins with its arguments so far."""

    index: int
    name: str
    written: str


class CallParser(Protocol):
    """Splits streamed text into text and calls. What only looks like a call is returned unchanged, as text."""

    @property
    def is_inside(self) -> bool:
        """Whether a call has begun and not ended."""

    @property
    def begun(self) -> BegunCall | None:
        """The call that has begun, once its arguments have, if its format has them as they are sent to clients."""

    def push(self, text: str) -> list[Text | ToolCall]:
        """Take a delta; return the text and calls that are certain now."""

    def finish(self) -> list[Text | ToolCall]:
        """Return the rest at the end of the answer."""


@dataclass(frozen=True)
class AnswerOptions:
    """What an answer may consist of, apart from which functions exist."""

    #: "auto": text that may contain calls; "required": only calls.
    mode: ToolChoice
    parallel: bool = False
    #: The schema of an answer without calls.
    answer_schema: dict[str, Any] | None = None

    def or_answer(self, calls: str) -> str:
        """Return rules for calls or, unless calls are required, JSON of `answer_schema` if there is one."""
        if self.mode == "required" or self.answer_schema is None:
            return f"start: {calls}\n"
        return f"start: calls | answer\ncalls: {calls}\nanswer: {lark.of_schema(self.answer_schema)}\n"

    @property
    def is_free(self) -> bool:
        """Whether the answer may be any text."""
        return self.mode == "auto" and self.answer_schema is None


#: Returns the grammar's terminal for a marker.
Terminals = Callable[[str], str]


class CallFormat(ABC):
    """A format of calls that can be enforced and parsed, for one model's vocabulary."""

    #: The texts around the parts of a call. If the vocabulary has a control token with that text, the marker is that.
    markers: ClassVar[tuple[str, ...]] = ()
    #: The text that ends an unquoted value within a call, if the format has such values.
    text_end: ClassVar[str] = ""

    def __init__(self, control_tokens: Mapping[str, int] | None = None) -> None:
        """Create the format for a vocabulary with these control tokens, by their text."""
        known = control_tokens or {}
        #: The markers that are control tokens.
        self.controls = {marker: known[marker] for marker in self.markers if marker in known}
        self._stand_ins = {marker: chr(FIRST_MARK + at) for at, marker in enumerate(self.controls)}

    @property
    def marks(self) -> dict[int, str]:
        """The stand-ins for control tokens in the text that parsers take, because these tokens have no text."""
        return {token: self._stand_ins[marker] for marker, token in self.controls.items()}

    def marker_in_text(self, marker: str) -> str:
        """Return a marker as it appears in the text that parsers take."""
        return self._stand_ins.get(marker, marker)

    def without_marks(self, text: str) -> str:
        """Return text that a parser took as the client gets it: without stand-ins for control tokens."""
        for mark in self._stand_ins.values():
            text = text.replace(mark, "")
        return text

    def terminals(self, first_control: int | None = None) -> Terminals:
        """Return the function that gives a marker's terminal in a grammar over the model's vocabulary.

        With `first_control`, the grammar is over a vocabulary whose tokens from that number on stand for the control
        tokens, in the order of `controls`.
        """
        tokens = {
            marker: number if first_control is None else first_control + at
            for at, (marker, number) in enumerate(self.controls.items())
        }
        return lambda marker: lark.token(tokens[marker]) if marker in tokens else lark.literal(marker)

    @abstractmethod
    def rules(self, options: AnswerOptions, terminal: Terminals) -> str:
        """Return the rules of an answer, beginning with `start`. The rule `any_call` matches a call of any function."""

    @abstractmethod
    def call_rules(self, rule: str, name: str, schema: dict[str, Any], terminal: Terminals) -> str:
        """Return the rules of a call of one function, whose names begin with `rule`; `schema` is of its arguments."""

    @abstractmethod
    def parser(self, tools: Sequence[dict[str, Any]] = ()) -> CallParser:
        """Return a parser that finds calls in an answer. `tools` are the functions that may be called."""

    @classmethod
    def written_in(cls, prompt: str, control_tokens: Mapping[str, int]) -> Self | None:
        """Return this format if `prompt`, which a template has written, contains the probe call in it, else None."""
        parser = cls().parser([PROBE_TOOL])
        found = [*parser.push(prompt), *parser.finish()]
        return cls(control_tokens) if any(isinstance(one, ToolCall) and one.is_probe for one in found) else None

    def conversation(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """Return the messages as templates of this format take them."""
        return messages
