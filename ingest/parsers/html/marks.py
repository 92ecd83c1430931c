"""The marks within a line of a page: raised, lowered and struck-out text, and references to notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from ingest.parsers.html.style import PLAIN, Look
from ingest.parsers.raised import lowered, note_reference, raised, struck_out

_STRUCK_TAGS = frozenset(("s", "strike", "del"))
_SHIFTED_TAGS = {"sup": 1, "sub": -1}
#: MathML: the sign before the second part, and before a third.
_MATH_SIGNS = {"msup": "^", "msub": "_", "msubsup": "_^", "mfrac": "/", "munderover": "_^", "munder": "_", "mover": "^"}
_MATH_TAG_NAMES = (
    "math mi mn mo ms mtext mrow mfrac msqrt mroot mstyle msub msup msubsup munder mover munderover semantics mpadded"
)
_MATH_TAGS = frozenset(_MATH_TAG_NAMES.split())
_MARKING_TAGS = _MATH_TAGS | _STRUCK_TAGS | _SHIFTED_TAGS.keys() | {"a"}
#: More marks within each other are a mistake.
_MAX_OPEN = 32
#: Classes and roles of links to notes, as pandoc, Sphinx, EPUB and ARIA name them.
_NOTE_REFERENCE_NAMES = frozenset(("footnote-ref", "footnote-reference", "noteref", "doc-noteref"))


class _Kind(Enum):
    STRUCK = auto()
    RAISED = auto()
    LOWERED = auto()
    NOTE = auto()
    #: A link within the page, which is a note reference if it is raised as a whole.
    LINK = auto()


@dataclass(slots=True)
class _Mark:
    kind: _Kind
    tag: str
    #: The index in the words at which it begins.
    start: int
    depth: int = 0


class Marks:
    """The marks that are open at the current position. They change the words from their start when they end."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._open: list[_Mark] = []
        #: The open elements of a formula, each with the number of its children so far.
        self._formula: list[tuple[str, int]] = []

    def start(self, tag: str, attributes: Mapping[str, str], look: Look) -> None:
        """Handle the start tag of an element that is shown."""
        if look is PLAIN and not self._open and tag not in _MARKING_TAGS:
            return
        if tag in _MATH_TAGS:
            self._start_formula(tag)
        if not self._begin(tag, attributes, look) and self._open and self._open[-1].tag == tag:
            self._open[-1].depth += 1

    def _begin(self, tag: str, attributes: Mapping[str, str], look: Look) -> bool:
        """Begin the mark that a tag makes, and return whether it makes one."""
        count = len(self._open)
        if count == _MAX_OPEN:
            return False
        shift = _SHIFTED_TAGS.get(tag, look.shift)
        if tag == "a" and _is_note_reference(attributes):
            self._open.append(_Mark(_Kind.NOTE, tag, len(self._words)))
        elif tag == "a" and attributes.get("href", "").startswith("#"):
            self._start_link(tag)
        elif shift and not self._has(_Kind.NOTE):
            self._start_shift(tag, shift)
        elif (tag in _STRUCK_TAGS or look.is_struck) and not self._has(_Kind.STRUCK):
            self._open.append(_Mark(_Kind.STRUCK, tag, len(self._words)))
        return len(self._open) > count

    def end(self, tag: str) -> None:
        """Handle the end tag of an element."""
        if self._formula and self._formula[-1][0] == tag:
            self._formula.pop()
        if self._open and self._open[-1].tag == tag:
            if self._open[-1].depth:
                self._open[-1].depth -= 1
            else:
                self._apply(self._open.pop())

    def divide(self) -> None:
        """End the open marks at the end of a block, and begin them again in the next, which has no words yet."""
        for mark in reversed(self._open):
            self._apply(mark)
            mark.start = 0

    def _start_formula(self, tag: str) -> None:
        if self._formula:
            parent, count = self._formula[-1]
            self._formula[-1] = parent, count + 1
            signs = _MATH_SIGNS.get(parent, "")
            if 0 < count <= len(signs):
                self._words.append(signs[count - 1])
        self._formula.append((tag, 0))

    def _start_link(self, tag: str) -> None:
        if self._open and self._open[-1].kind is _Kind.RAISED and self._open[-1].start == len(self._words):
            self._open[-1].kind = _Kind.NOTE
        else:
            self._open.append(_Mark(_Kind.LINK, tag, len(self._words)))

    def _start_shift(self, tag: str, shift: int) -> None:
        last = self._open[-1] if self._open else None
        is_note = shift > 0 and last is not None and last.kind is _Kind.LINK and last.start == len(self._words)
        kind = _Kind.NOTE if is_note else _Kind.RAISED if shift > 0 else _Kind.LOWERED
        self._open.append(_Mark(kind, tag, len(self._words)))

    def _has(self, kind: _Kind) -> bool:
        return any(mark.kind is kind for mark in self._open)

    def _apply(self, mark: _Mark) -> None:
        text = "".join(self._words[mark.start :])
        if not text.strip() or mark.kind is _Kind.LINK:
            return
        before = "".join(self._words[max(mark.start - 3, 0) : mark.start])
        if mark.kind is _Kind.STRUCK:
            text = struck_out(text)
        elif mark.kind is _Kind.NOTE:
            text = note_reference(text)
        else:
            text = (raised if mark.kind is _Kind.RAISED else lowered)(text, before)
        self._words[mark.start :] = [text]


def _is_note_reference(attributes: Mapping[str, str]) -> bool:
    """Return whether a link is a footnote reference, a number that must be kept apart from the word before it."""
    names = f"{attributes.get('class', '')} {attributes.get('role', '')} {attributes.get('epub:type', '')}"
    return not _NOTE_REFERENCE_NAMES.isdisjoint(names.split())
