"""Turns tokens into text that is safe to show: no partial character, no part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence

from inference.text.reasoning import Phase, Reasoning, ReasoningSplitter, possible_start


class Detokenizer:
    """Collects the bytes of tokens, and returns text as soon as no later token can change it.

    With `reasoning`, what the model thinks is not part of that text: `take_reasoning` returns it. `stop_found` becomes
    true when a stop string occurs in the text; no text is returned after that.
    """

    def __init__(
        self,
        token_bytes: Callable[[int], bytes],
        stop: Sequence[str] = (),
        skip_characters: int = 0,
        marks: Mapping[int, str] | None = None,
        reasoning: Reasoning | None = None,
        skip_reasoning_characters: int = 0,
    ) -> None:
        self._token_bytes = token_bytes
        self._splitter = None if reasoning is None else ReasoningSplitter(reasoning)
        self._reasoning = ""
        self._skip_reasoning = skip_reasoning_characters
        #: Stand-ins for tokens that have no text, or that must not be taken for text.
        self._marks = {**(reasoning.form.marks if reasoning else {}), **(marks or {})}
        self._stop = tuple(stop)
        #: How many characters an earlier attempt has already sent.
        self._skip = skip_characters
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stop_found = False

    def push(self, token: int) -> str:
        """Take a token; return the text that is safe now."""
        if self.stop_found:
            return ""
        mark = self._marks.get(token)
        text = self._decoder.decode(self._token_bytes(token) if mark is None else b"", final=mark is not None)
        text += mark or ""
        if self._splitter is not None:
            text = self._answer_in(*self._splitter.push(text))
        return self._new(self._before_stop(self._held + text) if self._stop else text)

    def finish(self) -> str:
        """Return the text that was held back, at the end of the sequence; drop the bytes of an incomplete character."""
        rest = self._answer_in(*self._splitter.finish()) if self._splitter and not self.stop_found else ""
        text, self._held = self._held + rest, ""
        return self._new(text)

    @property
    def phase(self) -> Phase:
        """Return what the next text belongs to."""
        return Phase.ANSWER if self._splitter is None else self._splitter.phase

    def take_reasoning(self) -> str:
        """Return what was thought since the last call."""
        text, self._reasoning = self._reasoning, ""
        return text

    def _answer_in(self, thought: str, answer: str) -> str:
        skipped = min(self._skip_reasoning, len(thought))
        self._skip_reasoning -= skipped
        self._reasoning += thought[skipped:]
        return answer

    def _before_stop(self, text: str) -> str:
        first = min((at for at in (text.find(stop) for stop in self._stop) if at >= 0), default=-1)
        if first >= 0:
            self.stop_found, self._held = True, ""
            return text[:first]
        keep = possible_start(text, self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _new(self, text: str) -> str:
        if not self._skip:
            return text
        skipped = min(self._skip, len(text))
        self._skip -= skipped
        return text[skipped:]
