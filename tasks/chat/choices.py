"""The choices of a generation: translates the engine's events into job events, and tracks what has been emitted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core import events
from core.errors import InternalError, LlmApiError
from core.ids import new_id
from core.messages import Grounding, Timings, TokenLogprob, Usage
from inference.engine.sequence import (
    FinishReason,
    SequenceAborted,
    SequenceDelta,
    SequenceEvent,
    SequenceFailed,
    SequenceFinished,
    SequenceStarted,
)
from inference.grammars.call_formats import BegunCall, CallParser, Text, ToolCall
from inference.text.citations import Citer
from tasks.chat.answer_check import AnswerCheck
from tasks.chat.open_calls import OpenCall
from tasks.jobs.runner import ChoiceResult, RunningJob

#: Arguments of a call that is emitted when it is complete have pieces of this length, all in one append.
ARGUMENTS_PIECE_CHARACTERS = 64
#: Separates the text before a call of a server function from the text after it, and so the reasoning.
ROUND_BREAK = "\n\n"


@dataclass
class Choice:
    """One choice of a job's answer in the present round. `result` is what has been emitted of it."""

    result: ChoiceResult
    token_ids: list[int] = field(default_factory=list)
    #: Ids of tokens whose text has not been emitted yet (half a character, the beginning of a stop string). They are
    #: emitted with the next text.
    pending: list[int] = field(default_factory=list)
    usage: Usage = Usage()
    timings: Timings = Timings()
    #: Finds calls in the text, if there are tools.
    reader: CallReader | None = None
    #: The names of the server's functions. Calls of other functions are the client's.
    server_names: frozenset[str] = frozenset()
    #: The number of server calls in earlier rounds of this answer.
    earlier_calls: int = 0
    #: Adds citation markers to the text, if there are sources.
    citer: Citer | None = None
    #: Whether the arguments of the client's calls are emitted while the model writes them. Only calls that are required
    #: are: no stop string cuts them, and their end is written before `max_tokens` is reached.
    streams_calls: bool = False
    #: The call whose arguments are being emitted.
    open: OpenCall | None = None
    #: The characters of `result.text` that are the echoed prompt.
    echo_characters: int = 0
    #: Finds what the complete answer violates of the client's schemas, if its grammar does not enforce all of them.
    check: AnswerCheck | None = None
    #: Finds what the documents lack of the complete answer, if it is one from documents.
    ground: Callable[[str], Grounding] | None = None

    @property
    def finished(self) -> bool:
        return self.result.finish_reason is not None

    @property
    def resume_text_length(self) -> int:
        """The number of emitted characters that the engine omits on resuming. Calls and citations need all of them."""
        return 0 if self.reader or self.citer else len(self.result.text) - self.echo_characters

    def take_pending(self) -> list[int]:
        token_ids, self.pending = self.pending, []
        return token_ids

    def open_call(self, call_id: str, name: str, arguments: str, *, server: bool) -> int:
        """Add a call. Return its number among the client's calls, or among the server's calls of all rounds."""
        calls, results = self.result.tool_calls, self.result.tool_results
        if server:
            results.append({"id": call_id, "name": name, "arguments": arguments})
            return self.earlier_calls + len(results) - 1
        calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
        return len(calls) - 1


class CallReader:
    """Finds the calls in the text of a choice, and omits the text and calls that an earlier attempt has emitted."""

    def __init__(self, parser: CallParser, replayed_characters: int = 0, replayed_calls: int = 0) -> None:
        self._parser = parser
        self._replayed_characters = replayed_characters
        self._replayed_calls = replayed_calls
        self._logprobs: list[TokenLogprob] = []
        self._emitted_characters = 0

    @property
    def begun(self) -> BegunCall | None:
        """The call that has begun and not ended, if no earlier attempt has emitted it completely."""
        begun = self._parser.begun
        return begun if begun is not None and begun.index >= self._replayed_calls else None

    def read(self, text: str, logprobs: list[TokenLogprob]) -> list[Text | ToolCall]:
        """Read new text and the logprobs of its tokens. Return the new text and calls that are certain now."""
        self._logprobs += logprobs
        return self._without_replayed(self._parser.push(text))

    def finish(self) -> list[Text | ToolCall]:
        """Return the rest at the end of the answer, without a call that was cut off."""
        return [] if self._parser.is_inside else self._without_replayed(self._parser.finish())

    def take_logprobs(self, text: str) -> list[TokenLogprob]:
        """Return the logprobs of the tokens whose text is complete once this text is emitted."""
        self._emitted_characters += len(text)
        taken: list[TokenLogprob] = []
        while self._logprobs and len(self._logprobs[0].token) <= self._emitted_characters:
            taken.append(self._logprobs.pop(0))
            self._emitted_characters -= len(taken[-1].token)
        return taken

    def drop_logprobs(self) -> None:
        """Discard the logprobs of a call's tokens, which are not part of the text."""
        self._logprobs.clear()
        self._emitted_characters = 0

    def _without_replayed(self, found: list[Text | ToolCall]) -> list[Text | ToolCall]:
        new: list[Text | ToolCall] = []
        for one in found:
            if isinstance(one, Text):
                skipped = min(self._replayed_characters, len(one.text))
                self._replayed_characters -= skipped
                new += [Text(one.text[skipped:])] if skipped < len(one.text) else []
            elif one.index >= self._replayed_calls:
                new.append(one)
        return new


@dataclass
class SequenceRun:
    """One round of a job: the sequences that the engine generates for it."""

    job: RunningJob
    choices: list[Choice]
    #: The number of the round. Each round has sequences of its own.
    round: int = 0
    error: LlmApiError | None = None
    aborted: str | None = None
    started: bool = False
    #: Set once the engine sends no more events, and all that it has sent are published.
    done: threading.Event = field(default_factory=threading.Event)
    #: Set when a choice is finished or the run is done, and the events of that are published.
    progress: threading.Event = field(default_factory=threading.Event)

    @property
    def sequence_ids(self) -> list[str]:
        return [self.sequence_id(choice.result.index) for choice in self.choices if not choice.finished]

    @property
    def has_ended(self) -> bool:
        """Whether the engine will send no more events."""
        return self.error is not None or self.aborted is not None or all(choice.finished for choice in self.choices)

    @property
    def usage(self) -> Usage:
        """The usage of all choices of one prompt, which is counted once."""
        first = self._done_choices[0].usage
        completion_tokens = sum(choice.usage.completion_tokens for choice in self.choices)
        reasoning_tokens = sum(choice.usage.reasoning_tokens for choice in self.choices)
        return Usage(first.prompt_tokens, completion_tokens, first.cached_tokens, reasoning_tokens=reasoning_tokens)

    @property
    def timings(self) -> Timings:
        """The timings of the choice that took longest to generate."""
        return max(self._done_choices, key=lambda choice: choice.timings.generation_ms).timings

    @property
    def _done_choices(self) -> list[Choice]:
        """The choices that this attempt has finished, or all of them if it has finished none."""
        return [choice for choice in self.choices if choice.usage.prompt_tokens] or self.choices

    def sequence_id(self, index: int) -> str:
        """Return the engine's id of a choice. It contains the attempt, so late events of an earlier one are ignored."""
        return f"{self.job.id}/{self.job.record.attempt}/{self.round}/{index}"


def translate(run: SequenceRun, event: SequenceEvent) -> list[events.AnyEvent]:
    """Return the job events for an engine event, and update `run`.

    `created` is the time at which the engine produced the event, so that delays can be measured.
    """
    choice = run.choices[int(event.sequence_id.rpartition("/")[2])]
    fields: dict[str, Any] = {**run.job.event_fields(), "created": event.produced_at}
    match event:
        case SequenceStarted():
            first = not run.started
            run.started = True
            return [events.Started(**fields)] if first else []
        case SequenceDelta():
            return _delta(choice, fields, event)
        case SequenceFinished():
            return _finished(choice, fields, event)
        case SequenceFailed():
            run.error = event.error
        case SequenceAborted():
            run.aborted = event.reason
        case _:
            run.error = InternalError(f"The engine sent an unknown event: {event!r}")
    return []


def _delta(choice: Choice, fields: dict[str, Any], event: SequenceDelta) -> list[events.AnyEvent]:
    choice.token_ids.extend(event.token_ids)
    choice.pending.extend(event.token_ids)
    thought: list[events.AnyEvent] = [_reasoning(choice, fields, event.reasoning)] if event.reasoning else []
    if choice.reader is not None:
        job_events = _events_of(choice, fields, choice.reader.read(event.text, event.logprobs))
        return [*thought, *job_events, *_begun(choice, fields, choice.reader)]
    text = choice.citer.push(event.text) if choice.citer is not None else event.text
    if not text and not event.logprobs:
        return thought
    return [*thought, _text(choice, fields, text, event.logprobs)]


def _finished(choice: Choice, fields: dict[str, Any], event: SequenceFinished) -> list[events.AnyEvent]:
    job_events = _events_of(choice, fields, choice.reader.finish()) if choice.reader is not None else []
    if choice.citer is not None and (rest := choice.citer.finish()):
        job_events.append(_text(choice, fields, rest, []))
    result = choice.result
    if choice.open is not None and not choice.open.has_ended:
        # Not even its simplest end had room before `max_tokens`.
        del result.tool_calls[choice.open.number]
    calls = (result.tool_calls or result.tool_results) and event.finish_reason is FinishReason.STOP
    result.finish_reason = reason = "tool_calls" if calls else str(event.finish_reason)
    choice.usage, choice.timings = event.usage, event.timings
    if choice.check is not None and event.finish_reason is FinishReason.STOP:
        result.schema_errors = choice.check(result)
    if choice.ground is not None:
        result.grounding = choice.ground(result.text)
    if not result.tool_results:
        finished = events.ChoiceFinished(
            **fields,
            index=result.index,
            finish_reason=reason,
            schema_errors=result.schema_errors,
            grounding=result.grounding,
        )
        return [*job_events, finished]
    if calls and not result.tool_calls and result.reasoning:
        job_events.append(_reasoning(choice, fields, ROUND_BREAK))
    if calls and not result.tool_calls and result.text:
        job_events.append(_text(choice, fields, ROUND_BREAK, []))
    return [*job_events, events.RoundFinished(**fields, finish_reason=reason, usage=event.usage, timings=event.timings)]


def _events_of(choice: Choice, fields: dict[str, Any], found: list[Text | ToolCall]) -> list[events.AnyEvent]:
    job_events: list[events.AnyEvent] = []
    for one in found:
        if isinstance(one, Text):
            logprobs = choice.reader.take_logprobs(one.text) if choice.reader else []
            job_events.append(_text(choice, fields, one.text, logprobs))
        else:
            job_events += _call(choice, fields, one)
    return job_events


def _reasoning(choice: Choice, fields: dict[str, Any], text: str) -> events.ReasoningDelta:
    choice.result.reasoning += text
    return events.ReasoningDelta(**fields, text=text, index=choice.result.index, token_ids=choice.take_pending())


def _text(choice: Choice, fields: dict[str, Any], text: str, logprobs: list[TokenLogprob]) -> events.TextDelta:
    choice.result.text += text
    choice.result.logprobs.extend(logprobs)
    index = choice.result.index
    return events.TextDelta(**fields, text=text, index=index, token_ids=choice.take_pending(), logprobs=logprobs)


def _begun(choice: Choice, fields: dict[str, Any], reader: CallReader) -> list[events.AnyEvent]:
    """Return the events of what is new of the call that the model is writing."""
    begun = reader.begun if choice.streams_calls else None
    if begun is None or begun.name in choice.server_names:
        return []
    job_events = [] if choice.open else _call(choice, fields, ToolCall(begun.index, begun.name, ""))
    choice.open = choice.open or OpenCall(len(choice.result.tool_calls) - 1)
    if piece := choice.open.take(begun.written):
        reader.drop_logprobs()
        job_events.append(_arguments(choice, fields, choice.open.number, piece))
    return job_events


def _arguments(choice: Choice, fields: dict[str, Any], number: int, piece: str) -> events.ToolCallDelta:
    choice.result.tool_calls[number]["function"]["arguments"] += piece
    token_ids, index = choice.take_pending(), choice.result.index
    return events.ToolCallDelta(**fields, index=index, call_index=number, arguments=piece, token_ids=token_ids)


def _call(choice: Choice, fields: dict[str, Any], call: ToolCall) -> list[events.AnyEvent]:
    if choice.reader is not None:
        choice.reader.drop_logprobs()
    if choice.open is not None:
        begun, choice.open = choice.open, None
        rest = call.arguments[begun.sent :]
        return [_arguments(choice, fields, begun.number, rest)] if rest else []
    call_id = new_id("call").replace("-", "_", 1)
    server = call.name in choice.server_names
    number = choice.open_call(call_id, call.name, call.arguments, server=server)
    call_fields: dict[str, Any] = {**fields, "index": choice.result.index, "call_index": number, "server": server}
    opening = events.ToolCallDelta(**call_fields, id=call_id, name=call.name, token_ids=choice.take_pending())
    length = ARGUMENTS_PIECE_CHARACTERS
    pieces = [call.arguments[at : at + length] for at in range(0, len(call.arguments), length)]
    return [opening, *(events.ToolCallDelta(**call_fields, arguments=piece) for piece in pieces)]
