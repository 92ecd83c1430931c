"""An answer for which the server runs functions: the model is asked in rounds, each with the results so far. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from core import events
from core.messages import ChatMessage, GenerateRequest, Timings, Usage
from inference.functions import FunctionResult
from tasks.jobs.runner import ChoiceResult

CUT_NOTE = " … (cut off here: the result is longer than what can be read)"


@dataclass
class Round:
    """One generation, at whose end the model had called functions that the server runs."""

    result: ChoiceResult
    usage: Usage
    timings: Timings

    @property
    def unanswered(self) -> list[dict[str, Any]]:
        """The calls whose results are not there."""
        return [call for call in self.result.tool_results if "error" not in call]

    def take(self, event: events.ToolResult) -> None:
        """Keeps the result of a call."""
        for call in self.result.tool_results:
            if call["id"] == event.call_id:
                call.update(result=event.result, error=event.error)

    def contents(self) -> list[str]:
        """What the model is emitted of each result."""
        return [
            FunctionResult(call["name"], call["result"], call["error"]).content for call in self.result.tool_results
        ]

    def messages(self, contents: Sequence[str]) -> list[ChatMessage]:
        """The round as a part of the conversation, with these texts as its results."""
        calls = self.result.tool_results
        wire = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in calls
        ]
        said = ChatMessage("assistant", self.result.text.strip() or None, tool_calls=wire)
        answers = (
            ChatMessage("tool", content, call["name"], call["id"])
            for call, content in zip(calls, contents, strict=True)
        )
        return [said, *answers]


@dataclass
class Conversation:
    """A request whose answer grows by rounds. `request` has the server's functions among its tools."""

    request: GenerateRequest
    server_names: frozenset[str] = frozenset()
    rounds: list[Round] = field(default_factory=list)
    #: The conversation that the next round goes on with.
    messages: list[ChatMessage] = field(default_factory=list)
    #: The texts that markers in the answer may stand for; None where the answer gets no markers.
    sources: list[str] | None = None
    #: The context has no room for another round.
    is_full: bool = False

    @property
    def tokens_left(self) -> int | None:
        """Tokens that may still be generated; None where the request names no limit, and each round has the default."""
        if self.request.max_tokens is None:
            return None
        return self.request.max_tokens - sum(round.usage.completion_tokens for round in self.rounds)

    @property
    def end_reason(self) -> str | None:
        """Why nothing more is generated after the last round; None if the model goes on."""
        if not self.rounds:
            return None
        last = self.rounds[-1].result
        if last.finish_reason != "tool_calls" or last.tool_calls:
            return last.finish_reason
        return "length" if self.is_full or (self.tokens_left is not None and self.tokens_left < 1) else None

    def next_request(self) -> GenerateRequest:
        """What the next round asks for. A call that was required is required once."""
        if not self.rounds:
            return self.request
        tools = self.request.tools
        if len(self.rounds) >= self.request.max_tool_rounds:
            tools = [tool for tool in tools if tool["function"]["name"] not in self.server_names]
        return msgspec.structs.replace(
            self.request,
            messages=self.messages,
            tools=tools,
            tool_choice="auto",
            tool_name=None,
            max_tokens=self.tokens_left,
        )

    @property
    def calls_so_far(self) -> int:
        """Calls that the server was asked for in all rounds."""
        return sum(len(round.result.tool_results) for round in self.rounds)

    def usage(self, last: Usage) -> Usage:
        """The sum over all rounds, `last` being that of the one which ended the answer."""
        return sum((round.usage for round in self.rounds), last)

    def timings(self, last: Timings, retrieval_ms: float) -> Timings:
        """The sum over all rounds; functions take no time of the model's."""
        all_of_them = [*(round.timings for round in self.rounds), last]
        return Timings(
            queue_ms=sum(timings.queue_ms for timings in all_of_them),
            prompt_ms=sum(timings.prompt_ms for timings in all_of_them),
            generation_ms=sum(timings.generation_ms for timings in all_of_them),
            retrieval_ms=retrieval_ms,
        )

    def whole(self, last: ChoiceResult) -> ChoiceResult:
        """The choice over all rounds, `last` being what the one which ended it has added."""
        parts = [*(round.result for round in self.rounds), last]
        return ChoiceResult(
            index=last.index,
            text="".join(part.text for part in parts),
            finish_reason=last.finish_reason,
            logprobs=[entry for part in parts for entry in part.logprobs],
            tool_calls=[call for part in parts for call in part.tool_calls],
            tool_results=[call for part in parts for call in part.tool_results],
        )


def shared_out(texts: Sequence[str], budget_tokens: int, count_tokens: Callable[[str], int]) -> list[str]:
    """The texts cut so that together they have at most about `budget_tokens` tokens: the short ones stay whole."""
    order = sorted(range(len(texts)), key=lambda at: count_tokens(texts[at]))
    left, cut = max(0, budget_tokens), list(texts)
    for done, at in enumerate(order):
        share = left // (len(texts) - done)
        cut[at] = _cut(texts[at], share, count_tokens)
        left -= count_tokens(cut[at])
    return cut


def _cut(text: str, tokens: int, count_tokens: Callable[[str], int]) -> str:
    total = count_tokens(text)
    if total <= tokens:
        return text
    keep = len(text) * max(0, tokens - count_tokens(CUT_NOTE)) // total
    while keep and count_tokens(text[:keep] + CUT_NOTE) > tokens:
        keep = keep * 9 // 10
    return text[:keep] + CUT_NOTE
