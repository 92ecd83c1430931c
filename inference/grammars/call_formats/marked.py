"""The base of formats whose calls begin with a marker and may be surrounded by text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from inference.grammars import lark
from inference.grammars.call_formats.base import (
    MAX_PARALLEL_CALLS,
    AnswerOptions,
    BegunCall,
    CallFormat,
    CallParser,
    Terminals,
    Text,
    ToolCall,
)
from inference.grammars.call_formats.objects import Call

#: The schema of each function's arguments, as the client wrote it.
Schemas = Mapping[str, dict[str, Any]]


class MarkedFormat(CallFormat):
    """Any number of calls that begin with a marker and may be surrounded by text."""

    opening: ClassVar[str]
    #: The text between two calls.
    separator: ClassVar[str] = ""
    #: Whether each of several calls has its own marker.
    repeats: ClassVar[bool] = True

    @abstractmethod
    def body(self, options: AnswerOptions, terminal: Terminals) -> str:
        """Return the part of a grammar that matches what follows the opening marker."""

    @abstractmethod
    def body_end(self, text: str) -> int:
        """Return where the body ends that `text`, which follows an opening marker, begins with.

        Return -1 if the end is not in this text yet, or 0 if the text does not begin with a body.
        """

    def begun(self, body: str) -> tuple[str, int] | None:
        """Return the function's name and where the arguments' JSON begins in the beginning of a body.

        Return None if it has not begun, or the format does not have the arguments as JSON of a single call.
        """
        del body
        return None

    @abstractmethod
    def read(self, body: str, schemas: Schemas) -> list[Call]:
        """Return the calls in a body, whose end may be cut off; none if it has no calls."""

    def rules(self, options: AnswerOptions, terminal: Terminals) -> str:
        shared = f"body: {self.body(options, terminal)}\n"
        if options.is_free:
            return self._free_rules(options, terminal) + shared
        return options.or_answer(f"call{self._more(options)}") + f"call: {terminal(self.opening)} body\n" + shared

    def parser(self, tools: Sequence[dict[str, Any]] = ()) -> CallParser:
        functions = (tool["function"] for tool in tools)
        return MarkedCallParser(self, {one["name"]: one.get("parameters") or {} for one in functions})

    def _more(self, options: AnswerOptions) -> str:
        separator = f"{lark.literal(self.separator)} " if self.separator else ""
        return f" ({separator}call){{0,{MAX_PARALLEL_CALLS - 1}}}" if options.parallel and self.repeats else ""

    def _free_rules(self, options: AnswerOptions, terminal: Terminals) -> str:
        goes_on = options.parallel and self.repeats
        if self.opening in self.controls:
            # Text contains no control tokens, so it ends where one occurs.
            start = "(text? opening body)* text?" if goes_on else "text? (opening body)?"
            return f"start: {start}\ntext: /(.|\\n)+/\nopening: {terminal(self.opening)}\n"
        # A lazy rule ends as soon as possible: with the first opening marker.
        start = "(begin body)* text" if goes_on else "text | begin body"
        return f"start: {start}\ntext: /(.|\\n)*/\nbegin[lazy]: /(.|\\n)*{lark.pattern(self.opening)}/\n"


class MarkedCallParser:
    """Finds the calls of a `MarkedFormat`."""

    def __init__(self, form: MarkedFormat, schemas: Schemas) -> None:
        self._form = form
        self._schemas = schemas
        self._opening = form.marker_in_text(form.opening)
        self._held = ""
        #: White space before a possible call, which is text only if there turns out to be no call.
        self._gap = ""
        self._inside = False
        self._calls = 0

    @property
    def is_inside(self) -> bool:
        return self._inside

    @property
    def begun(self) -> BegunCall | None:
        begun = self._form.begun(self._held) if self._inside else None
        return BegunCall(self._calls, begun[0], self._held[begun[1] :]) if begun else None

    def push(self, text: str) -> list[Text | ToolCall]:
        self._held += text
        found: list[Text | ToolCall] = []
        while (step := self._inside_step() if self._inside else self._outside_step()) is not None:
            found += step
        return found

    def finish(self) -> list[Text | ToolCall]:
        """Return the rest at the end of the answer; a complete call counts even if its closing marker was cut off."""
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
        # White space is held back too, because white space before a call does not belong to the text.
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
        visible = self._form.without_marks(text)
        return [Text(visible)] if visible else []


def _possible_start(text: str, marker: str) -> int:
    """Return the length of the longest end of `text` with which the marker begins."""
    return next((size for size in range(min(len(marker) - 1, len(text)), 0, -1) if marker.startswith(text[-size:])), 0)
