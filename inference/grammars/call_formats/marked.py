"""What forms have in common whose calls begin with a marker, amid text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from inference.grammars import lark
from inference.grammars.call_formats.base import (
    MAX_PARALLEL_CALLS,
    Asked,
    CallFormat,
    CallParser,
    Speller,
    Text,
    ToolCall,
)
from inference.grammars.call_formats.objects import Call

#: The schema of each function's arguments, as the client wrote it.
Schemas = Mapping[str, dict[str, Any]]


class MarkedFormat(CallFormat):
    """Calls that begin with a marker, amid text, any number of them."""

    opening: ClassVar[str]
    #: Between one call and the next.
    separator: ClassVar[str] = ""
    #: Whether each of several calls has a marker of its own.
    repeats: ClassVar[bool] = True

    @abstractmethod
    def body(self, asked: Asked, spell: Speller) -> str:
        """What follows the opening marker, as a piece of a grammar."""

    @abstractmethod
    def body_end(self, text: str) -> int:
        """Where the body ends that text behind an opening marker begins with: -1 if not in this text, 0 if what is
        there is none.
        """

    @abstractmethod
    def read(self, body: str, schemas: Schemas) -> list[Call]:
        """The calls in a body, whose end may be cut off; empty if it has none."""

    def rules(self, asked: Asked, spell: Speller) -> str:
        shared = f"body: {self.body(asked, spell)}\n"
        if asked.is_free:
            return self._free_rules(asked, spell) + shared
        return asked.or_answer(f"call{self._more(asked)}") + f"call: {spell(self.opening)} body\n" + shared

    def parser(self, tools: Sequence[dict[str, Any]] = ()) -> CallParser:
        functions = (tool["function"] for tool in tools)
        return MarkedCallParser(self, {one["name"]: one.get("parameters") or {} for one in functions})

    def _more(self, asked: Asked) -> str:
        separator = f"{lark.literal(self.separator)} " if self.separator else ""
        return f" ({separator}call){{0,{MAX_PARALLEL_CALLS - 1}}}" if asked.parallel and self.repeats else ""

    def _free_rules(self, asked: Asked, spell: Speller) -> str:
        goes_on = asked.parallel and self.repeats
        if self.opening in self.controls:
            # Text has no control tokens, so that it ends where one comes up.
            start = "(text? opening body)* text?" if goes_on else "text? (opening body)?"
            return f"start: {start}\ntext: /(.|\\n)+/\nopening: {spell(self.opening)}\n"
        # A lazy rule ends as soon as it can: with the first opening marker.
        start = "(begin body)* text" if goes_on else "text | begin body"
        return f"start: {start}\ntext: /(.|\\n)*/\nbegin[lazy]: /(.|\\n)*{lark.pattern(self.opening)}/\n"


class MarkedCallParser:
    """Finds the calls of a `MarkedFormat`."""

    def __init__(self, form: MarkedFormat, schemas: Schemas) -> None:
        self._form = form
        self._schemas = schemas
        self._opening = form.seen(form.opening)
        self._held = ""
        #: White space before a call, which is text only if the call is none.
        self._gap = ""
        self._inside = False
        self._calls = 0

    @property
    def is_inside(self) -> bool:
        return self._inside

    def push(self, text: str) -> list[Text | ToolCall]:
        self._held += text
        found: list[Text | ToolCall] = []
        while (step := self._inside_step() if self._inside else self._outside_step()) is not None:
            found += step
        return found

    def finish(self) -> list[Text | ToolCall]:
        """What is left at the end of the answer. A call whose closing marker was cut off counts if it is whole."""
        held, self._held = self._held, ""
        if self._inside:
            self._inside = False
            return self._read(held)
        return self._text(held) if held.strip() or not self._calls else []

    def _outside_step(self) -> list[Text | ToolCall] | None:
        before, marker, after = self._held.partition(self._opening)
        if marker:
            text = before.rstrip()
            self._held, self._gap, self._inside = after, before[len(text) :], True
            return self._text(text)
        # White space is held back too: before a call it is none of the text.
        text = before[: len(before) - _possible_start(before, self._opening)].rstrip()
        if not text:
            return None
        self._held = self._held[len(text) :]
        return self._text(text)

    def _inside_step(self) -> list[Text | ToolCall] | None:
        end = self._form.body_end(self._held)
        if end < 0:
            return None
        body, self._held = self._held[:end], self._held[end:]
        self._inside = False
        return self._read(body)

    def _read(self, body: str) -> list[Text | ToolCall]:
        calls = self._form.read(body, self._schemas)
        if not calls:
            return self._text(self._gap + self._opening + body)
        first, self._calls = self._calls, self._calls + len(calls)
        return [ToolCall(first + at, name, arguments) for at, (name, arguments) in enumerate(calls)]

    def _text(self, text: str) -> list[Text | ToolCall]:
        told = self._form.told(text)
        return [Text(told)] if told else []


def _possible_start(text: str, marker: str) -> int:
    """Length of the longest end of `text` that the marker begins with."""
    return next((size for size in range(min(len(marker) - 1, len(text)), 0, -1) if marker.startswith(text[-size:])), 0)
