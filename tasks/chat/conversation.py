"""An answer that is generated in rounds: between two rounds, the server runs the functions that were called. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from core import events
from core.messages import ChatMessage, GenerateRequest, Grounding, Hit, Timings, Usage
from inference.functions import FunctionResult
from inference.text.grounding import grounding_of
from inference.text.sources import Source
from tasks.jobs.runner import ChoiceResult

#: Appended to a result that is cut. The model reads it.
CUT_NOTE = " … (cut off here: the result is longer than what can be read)"


@dataclass
class Round:
    """A finished round, at whose end the model called functions of the server."""

    result: ChoiceResult
    usage: Usage
    timings: Timings

    @property
    def unanswered(self) -> list[dict[str, Any]]:
        """The server calls that have no result yet."""
        return [call for call in self.result.tool_results if "error" not in call]

    def record_result(self, event: events.ToolResult) -> None:
        """Store the result of a call."""
        for call in self.result.tool_results:
            if call["id"] == event.call_id:
                call.update(result=event.result, error=event.error)

    def contents(self) -> list[str]:
        """Return the text of each result, as the model reads it."""
        return [
            FunctionResult(call["name"], call["result"], call["error"]).content for call in self.result.tool_results
        ]

    def messages(self, contents: Sequence[str]) -> list[ChatMessage]:
        """Return the round as messages of the conversation: the model's message, and these texts as the results."""
        calls = self.result.tool_results
        wire = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in calls
        ]
        reasoning = self.result.reasoning.strip() or None
        assistant = ChatMessage("assistant", self.result.text.strip() or None, tool_calls=wire, reasoning=reasoning)
        results = (
            ChatMessage("tool", content, call["name"], call["id"])
            for call, content in zip(calls, contents, strict=True)
        )
        return [assistant, *results]


@dataclass
class Conversation:
    """A request and the rounds of its answer so far. The tools of `request` include the server's functions."""

    request: GenerateRequest
    server_names: frozenset[str] = frozenset()
    rounds: list[Round] = field(default_factory=list)
    #: The messages that the next round continues.
    messages: list[ChatMessage] = field(default_factory=list)
    #: The texts that citation markers refer to, or None if the answer gets no markers.
    sources: list[str] | None = None
    #: What was found in documents and is in the prompt.
    hits: list[Hit] = field(default_factory=list)
    #: How many of the client's messages were dropped because the context has no room for them.
    dropped_messages: int = 0
    #: Whether the context has no room for another round.
    is_full: bool = False

    def ground(self, answer: str) -> Grounding:
        """Return what the documents in the prompt lack of an answer to its question."""
        question = self.request.rag.query if self.request.rag else ""
        return grounding_of(question, answer, [Source.of(hit) for hit in self.hits])

    @property
    def tokens_left(self) -> int | None:
        """The tokens that may still be generated, or None if the request has no limit.

        Without a limit, each round has the default one.
        """
        if self.request.max_tokens is None:
            return None
        return self.request.max_tokens - sum(round.usage.completion_tokens for round in self.rounds)

    @property
    def end_reason(self) -> str | None:
        """The reason why no round follows the last one, or None if one follows."""
        if not self.rounds:
            return None
        last = self.rounds[-1].result
        if last.finish_reason != "tool_calls" or last.tool_calls:
            return last.finish_reason
        return "length" if self.is_full or (self.tokens_left is not None and self.tokens_left < 1) else None

    def next_request(self) -> GenerateRequest:
        """Return the request of the next round. Only the first round can be required to make a call."""
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
    def server_call_count(self) -> int:
        """The number of server calls in all rounds."""
        return sum(len(round.result.tool_results) for round in self.rounds)

    def total_usage(self, last: Usage) -> Usage:
        """Return the usage of all rounds. `last` is that of the final round."""
        return sum((round.usage for round in self.rounds), last)

    def total_timings(self, last: Timings, retrieval_ms: float) -> Timings:
        """Return the timings of all rounds, without the time of functions. `last` are those of the final round."""
        of_rounds = [*(round.timings for round in self.rounds), last]
        return Timings(
            queue_ms=sum(timings.queue_ms for timings in of_rounds),
            prompt_ms=sum(timings.prompt_ms for timings in of_rounds),
            generation_ms=sum(timings.generation_ms for timings in of_rounds),
            retrieval_ms=retrieval_ms,
        )

    def combined_choice(self, last: ChoiceResult) -> ChoiceResult:
        """Return the choice over all rounds. `last` is that of the final round."""
        parts = [*(round.result for round in self.rounds), last]
        return ChoiceResult(
            index=last.index,
            text="".join(part.text for part in parts),
            reasoning="".join(part.reasoning for part in parts).rstrip(),
            finish_reason=last.finish_reason,
            logprobs=[entry for part in parts for entry in part.logprobs],
            tool_calls=[call for part in parts for call in part.tool_calls],
            tool_results=[call for part in parts for call in part.tool_results],
            schema_errors=last.schema_errors,
            grounding=last.grounding,
        )


def cut_to_budget(texts: Sequence[str], budget_tokens: int, count_tokens: Callable[[str], int]) -> list[str]:
    """Return the texts, cut to about `budget_tokens` tokens together. Short texts stay whole."""
    shortest_first = sorted(range(len(texts)), key=lambda index: count_tokens(texts[index]))
    left, cut = max(0, budget_tokens), list(texts)
    for done, index in enumerate(shortest_first):
        share = left // (len(texts) - done)
        cut[index] = _cut(texts[index], share, count_tokens)
        left -= count_tokens(cut[index])
    return cut


def _cut(text: str, tokens: int, count_tokens: Callable[[str], int]) -> str:
    total = count_tokens(text)
    if total <= tokens:
        return text
    keep = len(text) * max(0, tokens - count_tokens(CUT_NOTE)) // total
    while keep and count_tokens(text[:keep] + CUT_NOTE) > tokens:
        keep = keep * 9 // 10
    return text[:keep] + CUT_NOTE
