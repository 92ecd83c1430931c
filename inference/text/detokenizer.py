"""Turns tokens into text that is safe to show: no partial character, no part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence


class Detokenizer:
    """Collects the bytes of tokens, and returns text as soon as no later token can change it.

    `stop_found` becomes true when a stop string occurs; no text is returned after that.
    """

    def __init__(
        self,
        token_bytes: Callable[[int], bytes],
        stop: Sequence[str] = (),
        skip_characters: int = 0,
        marks: Mapping[int, str] | None = None,
    ) -> None:
        self._token_bytes = token_bytes
        #: Stand-ins for tokens that have no text.
        self._marks = marks or {}
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
        if not self._stop:
            return self._new(text)
        return self._new(self._before_stop(self._held + text))

    def finish(self) -> str:
        """Return the text that was held back, at the end of the sequence; drop the bytes of an incomplete character."""
        text, self._held = self._held, ""
        return self._new(text)

    def _before_stop(self, text: str) -> str:
        first = min((at for at in (text.find(stop) for stop in self._stop) if at >= 0), default=-1)
        if first >= 0:
            self.stop_found, self._held = True, ""
            return text[:first]
        keep = self._possible_start(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _possible_start(self, text: str) -> int:
        """Return the length of the longest end of `text` with which a stop string begins."""
        longest = max(len(stop) for stop in self._stop) - 1
        for length in range(min(longest, len(text)), 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stop):
                return length
        return 0

    def _new(self, text: str) -> str:
        if not self._skip:
            return text
        skipped = min(self._skip, len(text))
        self._skip -= skipped
        return text[skipped:]
