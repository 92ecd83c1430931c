"""Separates what a model thinks from what it answers, while both are streamed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

#: The first stand-in for a control token of a tag: lone surrogates, which decoded text never contains, apart from those
#: of call formats.
FIRST_MARK = 0xDB00
#: Separates what was thought at two places of an answer.
BREAK = "\n\n"


@dataclass(frozen=True)
class _Tags:
    """The texts around reasoning. `preamble` begins an answer without reasoning, if the format has such a text."""

    opening: str
    closing: str
    preamble: str = ""
    #: What a template contains that writes this format, if not the closing tag.
    evidence: tuple[str, ...] = ()


_HARMONY_FINAL = "<|channel|>final<|message|>"
_KNOWN = (
    _Tags("<think>", "</think>"),
    _Tags("[THINK]", "[/THINK]"),
    _Tags("<seed:think>", "</seed:think>"),
    _Tags("<mm:think>", "</mm:think>"),
    _Tags("<|START_THINKING|>", "<|END_THINKING|>"),
    _Tags("<|inner_prefix|>", "<|inner_suffix|>"),
    _Tags("<|channel>thought\n", "<channel|>"),
    _Tags(
        "<|channel|>analysis<|message|>",
        f"<|end|><|start|>assistant{_HARMONY_FINAL}",
        _HARMONY_FINAL,
        evidence=("<|channel|>analysis", "<|channel|>final"),
    ),
    _Tags("<thinking>", "</thinking>"),
)


@dataclass(frozen=True)
class ReasoningFormat:
    """How a model marks its reasoning. The texts are those in prompts; `marks` are stand-ins for tokens of answers."""

    opening: str
    closing: str
    preamble: str = ""
    #: Stand-ins for the tokens of the tags, in the text that the splitter takes.
    marks: Mapping[int, str] = field(default_factory=dict)
    #: The texts of these tokens.
    token_texts: Mapping[int, str] = field(default_factory=dict)

    def visible(self, tag: str) -> str:
        """Return a tag as it appears in the text that the splitter takes."""
        for token, mark in self.marks.items():
            tag = tag.replace(self.token_texts[token], mark)
        return tag


def reasoning_format(
    template: str, control_tokens: Mapping[str, int], token_of: Callable[[str], int | None]
) -> ReasoningFormat | None:
    """Return the format in which a model marks its reasoning, or None if it does not reason.

    Its template tells by the tags, or its vocabulary by tokens for both. `token_of` returns the token whose whole text
    a text is, if there is one.
    """
    for tags in _KNOWN:
        is_named = all(text in template for text in tags.evidence or (tags.closing,))
        own = [token_of(tag) for tag in (tags.opening, tags.closing)]
        if is_named or None not in own:
            return _format(tags, control_tokens, own)
    return None


def _format(tags: _Tags, control_tokens: Mapping[str, int], own: Sequence[int | None]) -> ReasoningFormat:
    whole = "".join((tags.opening, tags.closing, tags.preamble))
    tokens = {token: text for text, token in control_tokens.items() if len(text) > 1 and text in whole}
    tokens |= {token: tag for token, tag in zip(own, (tags.opening, tags.closing), strict=True) if token is not None}
    longest_first = dict(sorted(tokens.items(), key=lambda item: -len(item[1])))
    marks = {token: chr(FIRST_MARK + at) for at, token in enumerate(longest_first)}
    return ReasoningFormat(tags.opening, tags.closing, tags.preamble, marks, longest_first)


class Beginning(Enum):
    """Whether an answer begins with reasoning."""

    #: The prompt has opened it.
    INSIDE = "inside"
    #: The model opens it, or answers at once.
    OPTIONAL = "optional"
    #: The prompt has closed it.
    NONE = "none"


@dataclass(frozen=True)
class Reasoning:
    """How one answer may contain reasoning."""

    form: ReasoningFormat
    beginning: Beginning
    #: Whether the answer begins with a token of its own, because a grammar describes it: what follows the closing tag
    #: in its last token then belongs to the reasoning.
    is_constrained: bool = False


class Phase(Enum):
    """What the next text of an answer belongs to."""

    UNDECIDED = "undecided"
    REASONING = "reasoning"
    #: The reasoning has ended, and only white space has followed.
    GAP = "gap"
    ANSWER = "answer"


class ReasoningSplitter:
    """Splits streamed text into reasoning and answer. The result does not depend on how the text was cut into pieces.

    Reasoning is found at the beginning of an answer, and later where its tag is a token, which no other text is taken
    for. White space around it is dropped.
    """

    def __init__(self, reasoning: Reasoning) -> None:
        form = reasoning.form
        self._is_constrained = reasoning.is_constrained
        self._openings = _forms(form, form.opening)
        self._closings = _forms(form, form.closing)
        self._preambles = _forms(form, form.preamble) if form.preamble else ()
        opening = form.visible(form.opening)
        #: The opening tag, if it also counts after the beginning of the answer.
        self._later = (opening,) if any(mark in opening for mark in form.marks.values()) else ()
        self._marks = str.maketrans(dict.fromkeys(form.marks.values(), ""))
        self._held = ""
        self._has_reasoned = False
        #: Whether the present reasoning has no text yet.
        self._is_empty = True
        self.phase = {
            Beginning.INSIDE: Phase.REASONING,
            Beginning.OPTIONAL: Phase.UNDECIDED,
            Beginning.NONE: Phase.ANSWER,
        }[reasoning.beginning]

    def push(self, text: str) -> tuple[str, str]:
        """Take a piece of text. Return the reasoning and the text of the answer that are certain now."""
        self._held += text
        thought, answer = "", ""
        while True:
            before = self.phase
            if before is Phase.UNDECIDED:
                self._decide()
            elif before is Phase.REASONING:
                thought += self._reason()
            elif before is Phase.GAP:
                self._skip_gap()
            else:
                answer += self._answer()
            if self.phase is before:
                return thought, answer

    def finish(self) -> tuple[str, str]:
        """Return the rest of both at the end of the text."""
        held, self._held = self._held, ""
        if self.phase is Phase.REASONING:
            return self._thought(held.rstrip()), ""
        return "", "" if self.phase is Phase.GAP else held.translate(self._marks)

    def _decide(self) -> None:
        begun = self._held.lstrip()
        for tags, phase in ((self._openings, Phase.REASONING), (self._preambles, Phase.GAP)):
            if (tag := next((tag for tag in tags if begun.startswith(tag)), None)) is not None:
                self._held, self.phase = begun[len(tag) :], phase
                return
        if begun and not any(tag.startswith(begun) for tag in (*self._openings, *self._preambles)):
            self.phase = Phase.ANSWER

    def _reason(self) -> str:
        if (found := _first(self._held, self._closings)) is not None:
            at, tag = found
            thought, rest = self._held[:at], self._held[at + len(tag) :]
            self.phase = Phase.GAP
            if self._is_constrained:
                thought, rest, self.phase = thought + rest, "", Phase.ANSWER
            self._held = rest
            thought = self._thought(thought.rstrip())
            self._is_empty = True
            return thought
        certain = self._held[: len(self._held) - possible_start(self._held, self._closings)].rstrip()
        self._held = self._held[len(certain) :]
        return self._thought(certain)

    def _thought(self, text: str) -> str:
        text = text.translate(self._marks)
        if self._is_empty:
            text = text.lstrip()
        if not text:
            return ""
        begins_again, self._is_empty = self._is_empty and self._has_reasoned, False
        self._has_reasoned = True
        return BREAK + text if begins_again else text

    def _skip_gap(self) -> None:
        self._held = self._held.lstrip()
        if self._held:
            self.phase = Phase.ANSWER

    def _answer(self) -> str:
        if (found := _first(self._held, self._later)) is not None:
            at, tag = found
            text, self._held = self._held[:at], self._held[at + len(tag) :]
            self.phase = Phase.REASONING
        else:
            certain = len(self._held) - possible_start(self._held, self._later)
            text, self._held = self._held[:certain], self._held[certain:]
        return text.translate(self._marks)


def _forms(form: ReasoningFormat, tag: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((form.visible(tag), tag)))


def _first(text: str, tags: Sequence[str]) -> tuple[int, str] | None:
    """Return where the first of these tags is, and which it is."""
    return min(((at, tag) for tag in tags if (at := text.find(tag)) >= 0), default=None)


def possible_start(text: str, sought: Sequence[str]) -> int:
    """Return the length of the longest end of `text` with which one of these texts begins, but not all of it."""
    longest = max(map(len, sought), default=0) - 1
    for length in range(min(longest, len(text)), 0, -1):
        end = text[-length:]
        if any(one.startswith(end) and one != end for one in sought):
            return length
    return 0
