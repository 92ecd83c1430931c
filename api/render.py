"""Renders the events of a job, or the stored result of a finished one, as the answers of the endpoints.

Streams, plain answers and asynchronous jobs are all rendered here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from api.sse import data_frame
from core import events
from core.messages import Grounding, Hit, HitPlace, Timings, TokenLogprob, Usage

Wire = dict[str, Any]
#: The form of calls: `tool_calls`, or the single `function_call` of clients that sent `functions`.
ToolForm = Literal["tools", "functions"]


class Choice(msgspec.Struct):
    """One choice of an answer, as received so far."""

    index: int = 0
    text: str = ""
    finish_reason: str | None = None
    logprobs: list[TokenLogprob] = []
    tool_calls: list[Wire] = []
    #: The calls that the server ran.
    tool_results: list[Wire] = []
    schema_errors: list[str] = []
    #: What the documents lack of an answer from them.
    grounding: Grounding | None = None
    #: What the model thought before the text.
    reasoning: str = ""


class Answer(msgspec.Struct):
    """The answer of a job so far. A worker stores the `result` of an asynchronous job in this format too."""

    choices: list[Choice] = []
    usage: Usage = Usage()
    timings: Timings = Timings()
    model: str = ""
    hits: list[Hit] = []
    #: How many messages of the conversation were dropped.
    dropped_messages: int = 0
    result: Any = None

    def add(self, event: events.AnyEvent) -> None:
        """Add the next event of the job."""
        match event:
            case events.Accepted():
                self.model, self.dropped_messages = event.model, event.dropped_messages
            case events.Retrieved():
                self.hits = event.hits
            case events.TextDelta():
                choice = self._choice(event.index)
                choice.text += event.text
                choice.logprobs.extend(event.logprobs)
            case events.ReasoningDelta():
                self._choice(event.index).reasoning += event.text
            case events.ToolCallDelta() if event.server:
                _add_server_call(self._choice(event.index).tool_results, event)
            case events.ToolCallDelta():
                _add_tool_call(self._choice(event.index).tool_calls, event)
            case events.ToolResult():
                for call in self._choice(0).tool_results:
                    if call["id"] == event.call_id:
                        call.update(result=event.result, error=event.error)
            case events.ChoiceFinished():
                choice = self._choice(event.index)
                choice.finish_reason, choice.schema_errors = event.finish_reason, event.schema_errors
                choice.grounding = event.grounding
                if event.finish_reason == "length":
                    _drop_incomplete_call(choice.tool_calls)
            case events.Finished():
                self.usage, self.timings, self.result = event.usage, event.timings, event.result
                self.model = event.model or self.model

    def _choice(self, index: int) -> Choice:
        while len(self.choices) <= index:
            self.choices.append(Choice(len(self.choices)))
        return self.choices[index]


def _add_tool_call(calls: list[Wire], event: events.ToolCallDelta) -> None:
    while len(calls) <= event.call_index:
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[event.call_index]
    call["id"] = event.id or call["id"]
    call["function"]["name"] = event.name or call["function"]["name"]
    call["function"]["arguments"] += event.arguments


def _drop_incomplete_call(calls: list[Wire]) -> None:
    """Remove a call that was cut off while its arguments were streamed."""
    try:
        msgspec.json.decode(calls[-1]["function"]["arguments"] if calls else "{}")
    except msgspec.DecodeError:
        calls.pop()


def _add_server_call(calls: list[Wire], event: events.ToolCallDelta) -> None:
    if event.id is not None:
        calls.append({"id": event.id, "name": event.name, "arguments": "", "result": None, "error": None})
    calls[event.call_index]["arguments"] += event.arguments


@dataclass(frozen=True)
class Head:
    """The id and the time of an answer. `created` is in Unix seconds."""

    job_id: str
    created: int

    def id(self, prefix: str) -> str:
        return self.job_id.replace("job-", f"{prefix}-", 1)


def usage_wire(usage: Usage) -> Wire:
    """Return the `usage` of chat and completions."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        **(
            {"completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens}}
            if usage.reasoning_tokens
            else {}
        ),
        **({"rewrite_tokens": usage.rewrite_tokens} if usage.rewrite_tokens else {}),
    }


def logprobs_wire(logprobs: Sequence[TokenLogprob]) -> Wire | None:
    """Return the `logprobs` of a chat choice, or None if none were requested."""
    if not logprobs:
        return None
    return {"content": [_logprob_wire(entry) for entry in logprobs], "refusal": None}


def _logprob_wire(entry: TokenLogprob) -> Wire:
    top = [{"token": token, "logprob": logprob, "bytes": raw} for token, logprob, raw in entry.top]
    return {"token": entry.token, "logprob": entry.logprob, "bytes": entry.bytes, "top_logprobs": top}


def source_wire(number: int, hit: Hit) -> Wire:
    """Return one source of a RAG answer. `index` counts from 1, like the numbers in the prompt."""
    return {"index": number, "file": hit.path or hit.filename, **hit_wire(hit)}


def hit_wire(hit: Hit) -> Wire:
    """Return a chunk that was found, in the form of the API."""
    return {
        "object": "document.chunk",
        "document_id": hit.document_id,
        "filename": hit.filename,
        "path": hit.path,
        "collection": hit.collection,
        "chunk_index": hit.chunk_index,
        "page": hit.page,
        "last_page": hit.last_page,
        "section": hit.section,
        "start": hit.start,
        "end": hit.end,
        "text": hit.text,
        "score": hit.score,
        "dense_score": hit.dense_score,
        "sparse_score": hit.sparse_score,
        "rerank_score": hit.rerank_score,
        "attributes": hit.attributes,
        "highlights": hit.highlights,
        "also_in": [place_wire(place) for place in hit.also_in],
    }


def place_wire(place: HitPlace) -> Wire:
    """Return another place of the text of a hit."""
    return {
        "document_id": place.document_id,
        "filename": place.filename,
        "path": place.path,
        "collection": place.collection,
        "chunk_index": place.chunk_index,
        "page": place.page,
        "section": place.section,
    }


def sources_wire(hits: Sequence[Hit]) -> list[Wire]:
    """Return the `sources` in the order in which the prompt has them."""
    return [source_wire(number, hit) for number, hit in enumerate(hits, 1)]


def chat_completion(head: Head, answer: Answer, form: ToolForm = "tools") -> Wire:
    """Return a `chat.completion`. If there are hits, it has `sources` too (an extension)."""
    wire: Wire = {
        "id": head.id("chatcmpl"),
        "object": "chat.completion",
        "created": head.created,
        "model": answer.model,
        "choices": [_chat_choice(choice, form) for choice in answer.choices],
        "usage": usage_wire(answer.usage),
        "system_fingerprint": None,
        "timings": answer.timings,
    }
    return wire | ({"sources": sources_wire(answer.hits)} if answer.hits else {})


def _chat_choice(choice: Choice, form: ToolForm) -> Wire:
    message: Wire = {"role": "assistant", "content": choice.text, "refusal": None, **reasoning_wire(choice)}
    if choice.tool_calls:
        message["content"] = choice.text or None
        if form == "functions":
            message["function_call"] = choice.tool_calls[0]["function"]
        else:
            message["tool_calls"] = choice.tool_calls
    if choice.tool_results:
        message["tool_results"] = choice.tool_results
    return {
        "index": choice.index,
        "message": message,
        "logprobs": logprobs_wire(choice.logprobs),
        "finish_reason": finish_reason_wire(choice.finish_reason, form),
        **schema_errors_wire(choice.schema_errors),
        **grounding_wire(choice.grounding),
    }


def reasoning_wire(choice: Choice) -> Wire:
    """Return the extension with what the model thought, or nothing if it did not."""
    return {"reasoning_content": choice.reasoning.rstrip()} if choice.reasoning else {}


def schema_errors_wire(problems: Sequence[str]) -> Wire:
    """Return the extension of a choice that says what it violates of its schema, or nothing if it fits."""
    return {"schema_errors": list(problems)} if problems else {}


def grounding_wire(grounding: Grounding | None) -> Wire:
    """Return the extension of a choice that says whether its documents support it, or nothing if it has none."""
    if grounding is None:
        return {}
    missing = {"question": grounding.words, "answer": grounding.sentences}
    return {"grounded": grounding.is_grounded, **({} if grounding.is_grounded else {"missing": missing})}


def finish_reason_wire(reason: str | None, form: ToolForm) -> str | None:
    """Return the `finish_reason` of a choice."""
    return "function_call" if reason == "tool_calls" and form == "functions" else reason


def rag_answer(head: Head, answer: Answer) -> Wire:
    """Return the answer of `/v1/rag/chat`."""
    choice = answer.choices[0] if answer.choices else Choice(0)
    return {
        "id": head.id("ragcmpl"),
        "object": "rag.completion",
        "created": head.created,
        "model": answer.model,
        "answer": choice.text,
        **reasoning_wire(choice),
        "finish_reason": choice.finish_reason,
        **schema_errors_wire(choice.schema_errors),
        **grounding_wire(choice.grounding),
        "sources": sources_wire(answer.hits),
        "usage": usage_wire(answer.usage),
        "timings": answer.timings,
    }


class ChatStream:
    """Renders the events of one chat as the frames of a stream, in order.

    With `sources`, the first chunk carries the hits, before any text.
    """

    object = "chat.completion.chunk"
    prefix = "chatcmpl"

    def __init__(
        self,
        head: Head,
        choices: int = 1,
        *,
        include_usage: bool = False,
        sources: bool = False,
        form: ToolForm = "tools",
    ) -> None:
        self._created = head.created
        self._id = head.id(self.prefix)
        self._choices = choices
        self._include_usage = include_usage
        self._sources = sources
        self._form: ToolForm = form
        self._hits: list[Hit] = []
        self._model = ""
        self._begun = False
        #: The indices of the calls that the server runs, by their ids.
        self._server_calls: dict[str, int] = {}

    def frames(self, event: events.AnyEvent) -> Iterator[bytes]:
        """Yield the frames of the next event. Events that clients do not see have none."""
        match event:
            case events.TextDelta():
                yield self._text(event)
            case events.ReasoningDelta():
                yield from self._reasoning(event)
            case events.Retrieved():
                self._hits = event.hits
            case events.Accepted() if not self._begun:
                self._begun = True
                self._model = event.model
                yield from self._opening()
            case events.ToolCallDelta() if event.server:
                named = {"id": event.id, "name": event.name} if event.id is not None else {}
                if event.id is not None:
                    self._server_calls[event.id] = event.call_index
                yield self._server_call(event.call_index, {**named, "arguments": event.arguments})
            case events.ToolCallDelta():
                yield self._chunk([self._delta(event.index, _call_delta(event, self._form))])
            case events.ToolResult():
                yield self._server_call(
                    self._server_calls[event.call_id], {"result": event.result, "error": event.error}
                )
            case events.ChoiceFinished():
                reason = finish_reason_wire(event.finish_reason, self._form)
                last = self._delta(event.index, {}, finish_reason=reason)
                extensions = schema_errors_wire(event.schema_errors) | grounding_wire(event.grounding)
                yield self._chunk([last | extensions])
            case events.Finished() if self._include_usage:
                yield self._chunk([], usage=usage_wire(event.usage))

    def _opening(self) -> Iterator[bytes]:
        """Yield a chunk with the role for each choice, the first with the sources of the answer."""
        for index in range(self._choices):
            extension = {"sources": sources_wire(self._hits)} if self._sources and index == 0 else {}
            yield self._chunk([self._delta(index, {"role": "assistant"})], **extension)

    def _text(self, event: events.TextDelta) -> bytes:
        return self._chunk([self._delta(event.index, {"content": event.text}, logprobs=logprobs_wire(event.logprobs))])

    def _reasoning(self, event: events.ReasoningDelta) -> Iterator[bytes]:
        yield self._chunk([self._delta(event.index, {"reasoning_content": event.text})])

    def _server_call(self, number: int, delta: Wire) -> bytes:
        return self._chunk([self._delta(0, {"tool_results": [{"index": number, **delta}]})])

    @staticmethod
    def _delta(index: int, delta: Wire, *, logprobs: Wire | None = None, finish_reason: str | None = None) -> Wire:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}

    def _chunk(self, choices: list[Wire], **more: Any) -> bytes:
        wire: Wire = {
            "id": self._id,
            "object": self.object,
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }
        if self._include_usage:
            wire["usage"] = None
        return data_frame(wire | more)


def _call_delta(event: events.ToolCallDelta, form: ToolForm) -> Wire:
    function: Wire = {"arguments": event.arguments}
    if event.name is not None:
        function = {"name": event.name, "arguments": event.arguments}
    if form == "functions":
        return {"function_call": function}
    named = {"id": event.id, "type": "function"} if event.id is not None else {}
    return {"tool_calls": [{"index": event.call_index, **named, "function": function}]}
