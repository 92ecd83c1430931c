"""What a form of calls is: how it is enforced, how it is read, and how its templates want conversations."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from core.messages import ChatMessage
from inference.grammars import lark

#: `auto`: text in which calls may come up; `required`: calls and nothing else.
ToolMode = Literal["auto", "required"]
#: Most calls of one answer. Small models do not know when to end.
MAX_PARALLEL_CALLS = 8
#: Stand for control tokens in the text between engine and parser: halves of surrogate pairs, which no decoded text has.
FIRST_MARK = 0xD800
#: The call that templates are tried out with, and its function.
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
    """Text for the reader."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """Call number `index` of an answer; `arguments` is a JSON object as text, as OpenAI's wire format has it."""

    index: int
    name: str
    arguments: str

    @property
    def is_probe(self) -> bool:
        """Whether this is the call that templates are tried out with."""
        try:
            return self.name == PROBE_NAME and bool(json.loads(self.arguments) == PROBE_ARGUMENTS)
        except ValueError:
            return False


class CallParser(Protocol):
    """Takes text as it comes, gives out text and calls. What only looks like a call comes out as text, unchanged."""

    @property
    def is_inside(self) -> bool:
        """Whether a call has begun and not ended."""

    def push(self, text: str) -> list[Text | ToolCall]:
        """Takes a delta, returns what is certain now."""

    def finish(self) -> list[Text | ToolCall]:
        """What is left at the end of the answer."""


@dataclass(frozen=True)
class Asked:
    """What an answer may be, apart from the functions that there are."""

    mode: ToolMode
    parallel: bool = False
    #: What it has to fit where it is no call.
    answer_schema: dict[str, Any] | None = None

    def or_answer(self, calls: str) -> str:
        """Rules for calls where they are required, for these or JSON of the schema where there is one."""
        if self.mode == "required" or self.answer_schema is None:
            return f"start: {calls}\n"
        return f"start: calls | answer\ncalls: {calls}\nanswer: {lark.of_schema(self.answer_schema)}\n"

    @property
    def is_free(self) -> bool:
        """Whether any text is an answer."""
        return self.mode == "auto" and self.answer_schema is None


#: Writes what stands between the parts of a call into a grammar.
Speller = Callable[[str], str]


class CallFormat(ABC):
    """A form of calls that can be enforced and read, as one model writes it."""

    #: What stands around the parts of a call. Where the vocabulary has a control token of that text, that is meant.
    markers: ClassVar[tuple[str, ...]] = ()
    #: What ends text that stands within a call as it is, where the form has such.
    text_end: ClassVar[str] = ""

    def __init__(self, control_tokens: Mapping[str, int] | None = None) -> None:
        """`control_tokens` are those of the vocabulary, by their text."""
        known = control_tokens or {}
        #: Which markers are control tokens.
        self.controls = {marker: known[marker] for marker in self.markers if marker in known}
        self._seen = {marker: chr(FIRST_MARK + at) for at, marker in enumerate(self.controls)}

    @property
    def marks(self) -> dict[int, str]:
        """What stands for control tokens in the text that parsers take: those have no text of their own."""
        return {token: self._seen[marker] for marker, token in self.controls.items()}

    def seen(self, marker: str) -> str:
        """A marker as parsers see it."""
        return self._seen.get(marker, marker)

    def told(self, text: str) -> str:
        """What parsers have taken, as the client is to see it: without control tokens."""
        for mark in self._seen.values():
            text = text.replace(mark, "")
        return text

    def speller(self, first_control: int | None = None) -> Speller:
        """For grammars over the model's vocabulary; or over one whose tokens from `first_control` on stand for the
        control tokens, in the order of `controls`.
        """
        tokens = {
            marker: number if first_control is None else first_control + at
            for at, (marker, number) in enumerate(self.controls.items())
        }
        return lambda marker: lark.token(tokens[marker]) if marker in tokens else lark.literal(marker)

    @abstractmethod
    def rules(self, asked: Asked, spell: Speller) -> str:
        """The rules of an answer, from `start` on. `any_call` is a rule for each of the functions."""

    @abstractmethod
    def call_rules(self, rule: str, name: str, schema: dict[str, Any], spell: Speller) -> str:
        """The rules of a call of one function, named `rule` or beginning with that; `schema` is of its arguments."""

    @abstractmethod
    def parser(self, tools: Sequence[dict[str, Any]] = ()) -> CallParser:
        """Finds calls of this form in an answer. `tools` are the functions that may be called."""

    @classmethod
    def written_in(cls, prompt: str, control_tokens: Mapping[str, int]) -> Self | None:
        """The form, if a template has written the probe's call in it into this prompt."""
        parser = cls().parser([PROBE_TOOL])
        found = [*parser.push(prompt), *parser.finish()]
        return cls(control_tokens) if any(isinstance(one, ToolCall) and one.is_probe for one in found) else None

    def conversation(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """The messages as templates of this form take them."""
        return messages
