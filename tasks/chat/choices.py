"""What a generation has emitted its client so far: from the engine's events to the job's."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from core import events
from core.errors import InternalError, LlmApiError
from core.ids import new_id
from core.messages import Timings, TokenLogprob, Usage
from inference.engine.sequence import (
    FinishReason,
    SequenceAborted,
    SequenceDelta,
    SequenceEvent,
    SequenceFailed,
    SequenceFinished,
    SequenceStarted,
)
from inference.grammars.call_formats import CallParser, Text, ToolCall
from inference.text.citations import Citer
from tasks.jobs.runner import ChoiceResult, RunningJob

#: A call is emitted whole, since none may be left half emitted; its arguments come in pieces of so many characters.
ARGUMENTS_PIECE = 64
#: Stands between what the model says before it calls a function of the server and what it says afterwards.
ROUND_BREAK = "\n\n"


@dataclass
class Choice:
    """One sequence of a job, as far as its client has seen it."""

    result: ChoiceResult
    token_ids: list[int] = field(default_factory=list)
    #: Tokens without text yet (half a character, the beginning of a stop string): they travel with the next text.
    pending: list[int] = field(default_factory=list)
    usage: Usage = Usage()
    timings: Timings = Timings()
    #: Reads calls out of the text, where there are tools.
    reader: CallReader | None = None
    #: The functions that the server runs; calls of others are the client's.
    server_names: frozenset[str] = frozenset()
    #: Calls that the server ran in earlier rounds of this answer.
    earlier_results: int = 0
    #: Puts the markers of its sources into the text, where there are sources.
    citer: Citer | None = None

    @property
    def finished(self) -> bool:
        return self.result.finish_reason is not None

    @property
    def resume_text_length(self) -> int:
        """Characters that the engine need not give out again. What finds calls or sources reads all of them again."""
        return 0 if self.reader or self.citer else len(self.result.text)

    def take_pending(self) -> list[int]:
        token_ids, self.pending = self.pending, []
        return token_ids

    def open_call(self, call_id: str, name: str, arguments: str, *, server: bool) -> int:
        """Adds a call. Answers its number among those of the client, or among those of the server in all rounds."""
        calls, results = self.result.tool_calls, self.result.tool_results
        if server:
            results.append({"id": call_id, "name": name, "arguments": arguments})
            return self.earlier_results + len(results) - 1
        calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
        return len(calls) - 1


class CallReader:
    """Finds the calls in one choice's text, and leaves out what an earlier attempt has emitted."""

    def __init__(self, parser: CallParser, replayed_characters: int = 0, replayed_calls: int = 0) -> None:
        self._parser = parser
        self._replayed_characters = replayed_characters
        self._replayed_calls = replayed_calls
        self._logprobs: list[TokenLogprob] = []
        self._shown = 0

    def read(self, text: str, logprobs: list[TokenLogprob]) -> list[Text | ToolCall]:
        """Takes new text and its tokens; returns what is certain and was not emitted yet."""
        self._logprobs += logprobs
        return self._new(self._parser.push(text))

    def finish(self) -> list[Text | ToolCall]:
        """What is left at the end. A call that was cut off is left out."""
        return [] if self._parser.is_inside else self._new(self._parser.finish())

    def take_logprobs(self, text: str) -> list[TokenLogprob]:
        """Those of the tokens that are shown whole with this text."""
        self._shown += len(text)
        taken: list[TokenLogprob] = []
        while self._logprobs and len(self._logprobs[0].token) <= self._shown:
            taken.append(self._logprobs.pop(0))
            self._shown -= len(taken[-1].token)
        return taken

    def drop_logprobs(self) -> None:
        """Leaves out the tokens of a call, which are no part of the text."""
        self._logprobs.clear()
        self._shown = 0

    def _new(self, found: list[Text | ToolCall]) -> list[Text | ToolCall]:
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
    """A job whose sequences are in the engine."""

    job: RunningJob
    choices: list[Choice]
    #: Number of the round that this is: each has sequences of its own.
    round: int = 0
    error: LlmApiError | None = None
    aborted: str | None = None
    started: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def sequence_ids(self) -> list[str]:
        return [self.sequence_id(choice.result.index) for choice in self.choices if not choice.finished]

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come from the engine."""
        return self.error is not None or self.aborted is not None or all(choice.finished for choice in self.choices)

    def sequence_id(self, index: int) -> str:
        """The engine's name of a choice; an attempt's own, so that a late event of a void one is not mistaken."""
        return f"{self.job.id}/{self.job.record.attempt}/{self.round}/{index}"


def translate(run: SequenceRun, event: SequenceEvent) -> list[events.AnyEvent]:
    """The job events that an engine event becomes; `run` remembers what was emitted.

    `created` is the time at which the engine made the event, so that delays can be measured.
    """
    choice = run.choices[int(event.sequence_id.rpartition("/")[2])]
    base: dict[str, Any] = {**run.job.base(), "created": event.produced_at}
    match event:
        case SequenceStarted():
            first = not run.started
            run.started = True
            return [events.Started(**base)] if first else []
        case SequenceDelta():
            return _delta(choice, base, event)
        case SequenceFinished():
            return _finished(choice, base, event)
        case SequenceFailed():
            run.error = event.error
        case SequenceAborted():
            run.aborted = event.reason
        case _:
            run.error = InternalError(f"The engine sent an unknown event: {event!r}")
    return []


def _delta(choice: Choice, base: dict[str, Any], event: SequenceDelta) -> list[events.AnyEvent]:
    choice.token_ids.extend(event.token_ids)
    choice.pending.extend(event.token_ids)
    if choice.reader is not None:
        return _emitted(choice, base, choice.reader.read(event.text, event.logprobs))
    text = choice.citer.push(event.text) if choice.citer is not None else event.text
    if not text and not event.logprobs:
        return []
    return [_text(choice, base, text, event.logprobs)]


def _finished(choice: Choice, base: dict[str, Any], event: SequenceFinished) -> list[events.AnyEvent]:
    emitted = _emitted(choice, base, choice.reader.finish()) if choice.reader is not None else []
    if choice.citer is not None and (rest := choice.citer.finish()):
        emitted.append(_text(choice, base, rest, []))
    result = choice.result
    calls = (result.tool_calls or result.tool_results) and event.finish_reason is FinishReason.STOP
    result.finish_reason = reason = "tool_calls" if calls else str(event.finish_reason)
    choice.usage, choice.timings = event.usage, event.timings
    if not result.tool_results:
        return [*emitted, events.ChoiceFinished(**base, index=result.index, finish_reason=reason)]
    if calls and not result.tool_calls and result.text:
        emitted.append(_text(choice, base, ROUND_BREAK, []))
    return [*emitted, events.RoundFinished(**base, finish_reason=reason, usage=event.usage, timings=event.timings)]


def _emitted(choice: Choice, base: dict[str, Any], found: list[Text | ToolCall]) -> list[events.AnyEvent]:
    emitted: list[events.AnyEvent] = []
    for one in found:
        if isinstance(one, Text):
            logprobs = choice.reader.take_logprobs(one.text) if choice.reader else []
            emitted.append(_text(choice, base, one.text, logprobs))
        else:
            emitted += _call(choice, base, one)
    return emitted


def _text(choice: Choice, base: dict[str, Any], text: str, logprobs: list[TokenLogprob]) -> events.TextDelta:
    choice.result.text += text
    choice.result.logprobs.extend(logprobs)
    index = choice.result.index
    return events.TextDelta(**base, text=text, index=index, token_ids=choice.take_pending(), logprobs=logprobs)


def _call(choice: Choice, base: dict[str, Any], call: ToolCall) -> list[events.AnyEvent]:
    if choice.reader is not None:
        choice.reader.drop_logprobs()
    call_id = new_id("call").replace("-", "_", 1)
    server = call.name in choice.server_names
    number = choice.open_call(call_id, call.name, call.arguments, server=server)
    place: dict[str, Any] = {**base, "index": choice.result.index, "call_index": number, "server": server}
    opening = events.ToolCallDelta(**place, id=call_id, name=call.name, token_ids=choice.take_pending())
    pieces = [call.arguments[at : at + ARGUMENTS_PIECE] for at in range(0, len(call.arguments), ARGUMENTS_PIECE)]
    return [opening, *(events.ToolCallDelta(**place, arguments=piece) for piece in pieces)]
