"""What a generation has told its client so far: from the engine's events to the job's, and back when it is resumed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from core import events
from core.errors import InternalError, InvalidRequest, LlmApiError
from core.ids import new_id
from core.messages import Timings, TokenLogprob, Usage
from inference.sequence import (
    FinishReason,
    SequenceAborted,
    SequenceDelta,
    SequenceEvent,
    SequenceFailed,
    SequenceFinished,
    SequenceStarted,
)
from inference.tool_calls import Text, ToolCall, ToolCallParser
from tasks.records import JobRecords
from tasks.running import ChoiceResult, RunningJob, with_patience

#: A call is told whole, since none may be left half told; its arguments come in pieces of so many characters.
ARGUMENTS_PIECE = 64


@dataclass
class Choice:
    """One sequence of a job, as far as its client has seen it."""

    result: ChoiceResult
    token_ids: list[int] = field(default_factory=list)
    #: Tokens without text yet (half a character, the beginning of a stop string): they travel with the next text.
    untold: list[int] = field(default_factory=list)
    usage: Usage = Usage()
    timings: Timings = Timings()
    #: Reads calls out of the text, where there are tools.
    reader: CallReader | None = None

    @property
    def finished(self) -> bool:
        return self.result.finish_reason is not None

    @property
    def resume_text_length(self) -> int:
        """Characters that the engine need not give out again. What finds calls reads the whole text once more."""
        return 0 if self.reader else len(self.result.text)

    def take_untold(self) -> list[int]:
        token_ids, self.untold = self.untold, []
        return token_ids


class CallReader:
    """Finds the calls in one choice's text, and leaves out what an earlier attempt has told."""

    def __init__(self, told_characters: int = 0, told_calls: int = 0) -> None:
        self._parser = ToolCallParser()
        self._told_characters = told_characters
        self._told_calls = told_calls
        self._logprobs: list[TokenLogprob] = []
        self._shown = 0

    def read(self, text: str, logprobs: list[TokenLogprob]) -> list[Text | ToolCall]:
        """Takes new text and its tokens; returns what is certain and was not told yet."""
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
                skipped = min(self._told_characters, len(one.text))
                self._told_characters -= skipped
                new += [Text(one.text[skipped:])] if skipped < len(one.text) else []
            elif one.index >= self._told_calls:
                new.append(one)
        return new


@dataclass
class Flight:
    """A job whose sequences are in the engine."""

    job: RunningJob
    choices: list[Choice]
    error: LlmApiError | None = None
    aborted: str | None = None
    started: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def sequence_ids(self) -> list[str]:
        return [self.sequence_id(choice.result.index) for choice in self.choices if not choice.finished]

    @property
    def landed(self) -> bool:
        """Whether nothing more will come from the engine."""
        return self.error is not None or self.aborted is not None or all(choice.finished for choice in self.choices)

    def sequence_id(self, index: int) -> str:
        """The engine's name of a choice; an attempt's own, so that a late event of a void one is not mistaken."""
        return f"{self.job.id}/{self.job.record.attempt}/{index}"


def translate(flight: Flight, event: SequenceEvent) -> list[events.AnyEvent]:
    """The job events that an engine event becomes; `flight` remembers what was told.

    `created` is the time at which the engine made the event, so that delays can be measured.
    """
    choice = flight.choices[int(event.sequence_id.rpartition("/")[2])]
    base: dict[str, Any] = {**flight.job.base(), "created": event.produced_at}
    match event:
        case SequenceStarted():
            first = not flight.started
            flight.started = True
            return [events.Started(**base)] if first else []
        case SequenceDelta():
            return _delta(choice, base, event)
        case SequenceFinished():
            return _finished(choice, base, event)
        case SequenceFailed():
            flight.error = event.error
        case SequenceAborted():
            flight.aborted = event.reason
        case _:
            flight.error = InternalError(f"The engine sent an unknown event: {event!r}")
    return []


def _delta(choice: Choice, base: dict[str, Any], event: SequenceDelta) -> list[events.AnyEvent]:
    choice.token_ids.extend(event.token_ids)
    choice.untold.extend(event.token_ids)
    if choice.reader is not None:
        return _told(choice, base, choice.reader.read(event.text, event.logprobs))
    if not event.text and not event.logprobs:
        return []
    return [_text(choice, base, event.text, event.logprobs)]


def _finished(choice: Choice, base: dict[str, Any], event: SequenceFinished) -> list[events.AnyEvent]:
    told = _told(choice, base, choice.reader.finish()) if choice.reader is not None else []
    calls = choice.result.tool_calls and event.finish_reason is FinishReason.STOP
    choice.result.finish_reason = "tool_calls" if calls else str(event.finish_reason)
    choice.usage, choice.timings = event.usage, event.timings
    index, reason = choice.result.index, choice.result.finish_reason
    return [*told, events.ChoiceFinished(**base, index=index, finish_reason=reason)]


def _told(choice: Choice, base: dict[str, Any], found: list[Text | ToolCall]) -> list[events.AnyEvent]:
    told: list[events.AnyEvent] = []
    for one in found:
        if isinstance(one, Text):
            logprobs = choice.reader.take_logprobs(one.text) if choice.reader else []
            told.append(_text(choice, base, one.text, logprobs))
        else:
            told += _call(choice, base, one)
    return told


def _text(choice: Choice, base: dict[str, Any], text: str, logprobs: list[TokenLogprob]) -> events.TextDelta:
    choice.result.text += text
    choice.result.logprobs.extend(logprobs)
    index = choice.result.index
    return events.TextDelta(**base, text=text, index=index, token_ids=choice.take_untold(), logprobs=logprobs)


def _call(choice: Choice, base: dict[str, Any], call: ToolCall) -> list[events.AnyEvent]:
    if choice.reader is not None:
        choice.reader.drop_logprobs()
    call_id = new_id("call").replace("-", "_", 1)
    place: dict[str, Any] = {**base, "index": choice.result.index, "call_index": call.index}
    whole = {"name": call.name, "arguments": call.arguments}
    choice.result.tool_calls.append({"id": call_id, "type": "function", "function": whole})
    opening = events.ToolCallDelta(**place, id=call_id, name=call.name, token_ids=choice.take_untold())
    pieces = [call.arguments[at : at + ARGUMENTS_PIECE] for at in range(0, len(call.arguments), ARGUMENTS_PIECE)]
    return [opening, *(events.ToolCallDelta(**place, arguments=piece) for piece in pieces)]


@dataclass(frozen=True)
class Past:
    """What earlier attempts at a job have told already, from which this one goes on."""

    accepted: bool
    told: list[events.AnyEvent]

    @classmethod
    def of(cls, records: JobRecords, job_id: str) -> Past:
        """Reads the replay.

        Raises:
            InvalidRequest: the answer is longer than what is kept, so that nobody can go on with it.
        """
        replay = with_patience(lambda: records.replay(job_id))
        if replay and replay[0][0] != 1:
            raise InvalidRequest("The answer is too long to be taken up again after its worker was lost.")
        told = [event for _, event in replay]
        return cls(any(isinstance(event, events.Accepted) for event in told), told)

    def choices(self, n: int, *, reads_calls: bool = False) -> list[Choice]:
        """Each choice as far as it was told; with `reads_calls`, ready to find calls in what follows."""
        choices = [Choice(ChoiceResult(index=index)) for index in range(n)]
        for event in self.told:
            if isinstance(event, events.TextDelta):
                choice = choices[event.index]
                choice.token_ids.extend(event.token_ids)
                choice.result.text += event.text
                choice.result.logprobs.extend(event.logprobs)
            elif isinstance(event, events.ToolCallDelta):
                _retell_call(choices[event.index], event)
            elif isinstance(event, events.ChoiceFinished):
                choices[event.index].result.finish_reason = event.finish_reason
        if reads_calls:
            for choice in choices:
                choice.reader = CallReader(len(choice.result.text), len(choice.result.tool_calls))
        return choices


def _retell_call(choice: Choice, event: events.ToolCallDelta) -> None:
    choice.token_ids.extend(event.token_ids)
    if event.id is not None:
        function = {"name": event.name or "", "arguments": ""}
        choice.result.tool_calls.append({"id": event.id, "type": "function", "function": function})
    choice.result.tool_calls[event.call_index]["function"]["arguments"] += event.arguments
