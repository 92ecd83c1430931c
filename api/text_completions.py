"""Renders raw completions (`/v1/completions`), as answers and as streams."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence

from api.render import Answer, ChatStream, Head, Wire, schema_errors_wire, usage_wire
from core import events
from core.messages import TokenLogprob


class LegacyLogprobs:
    """Renders the log probabilities of one choice in the form of the older API, piece by piece.

    `top` is how many alternatives were requested; with 0, there is no `top_logprobs`.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        #: The characters of the tokens so far.
        self._offset = 0

    def next(self, entries: Sequence[TokenLogprob]) -> Wire:
        """Return the `logprobs` of the next tokens. `text_offset` counts characters from the choice's first token."""
        offsets: list[int] = []
        for entry in entries:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(bytes(entry.bytes)))
        return {
            "tokens": [_name(entry.token, entry.bytes) for entry in entries],
            "token_logprobs": [entry.logprob for entry in entries],
            "top_logprobs": [_top(entry) for entry in entries] if self._top else None,
            "text_offset": offsets,
        }


def _name(text: str, raw: Sequence[int]) -> str:
    """Return the text of a token, or its bytes as the older API writes those that are no characters by themselves."""
    if "\ufffd" not in text:
        return text
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _top(entry: TokenLogprob) -> dict[str, float] | None:
    """Return the alternatives to a token and the token itself, or None for one that nothing precedes."""
    if entry.logprob is None:
        return None
    found = {_name(text, raw): logprob for text, logprob, raw in reversed(entry.top)}
    best = dict(reversed(found.items()))
    return best | {_name(entry.token, entry.bytes): entry.logprob}


def text_completion(head: Head, answer: Answer, top: int | None = None) -> Wire:
    """Return a `text_completion`. `top` is the `logprobs` of the request: None if it wants none."""
    return {
        "id": head.id("cmpl"),
        "object": "text_completion",
        "created": head.created,
        "model": answer.model,
        "choices": [
            {
                "index": choice.index,
                "text": choice.text,
                "logprobs": None if top is None else LegacyLogprobs(top).next(choice.logprobs),
                "finish_reason": choice.finish_reason,
                **schema_errors_wire(choice.schema_errors),
            }
            for choice in answer.choices
        ],
        "usage": usage_wire(answer.usage),
    }


class CompletionStream(ChatStream):
    """Renders the events of one raw completion, whose stream has no roles. `top` is the request's `logprobs`."""

    object = "text_completion"
    prefix = "cmpl"

    def __init__(self, head: Head, choices: int = 1, *, include_usage: bool = False, top: int | None = None) -> None:
        super().__init__(head, choices, include_usage=include_usage)
        self._logprobs = [] if top is None else [LegacyLogprobs(top) for _ in range(choices)]

    def _opening(self) -> Iterator[bytes]:
        yield b": accepted\n\n"

    def _text(self, event: events.TextDelta) -> bytes:
        logprobs = self._logprobs[event.index].next(event.logprobs) if self._logprobs else None
        return self._chunk([self._delta(event.index, {"text": event.text}, logprobs=logprobs)])

    @staticmethod
    def _delta(index: int, delta: Wire, *, logprobs: Wire | None = None, finish_reason: str | None = None) -> Wire:
        return {"index": index, "text": "", "logprobs": logprobs, "finish_reason": finish_reason} | delta
