"""What earlier attempts at a job have emitted, from which the next attempt resumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core import events
from core.errors import InvalidRequest
from inference.grammars.call_formats import CallParser
from tasks.chat.choices import CallReader, Choice
from tasks.chat.conversation import Round
from tasks.chat.open_calls import left_open
from tasks.jobs.job_record import JobRecord
from tasks.jobs.records import JobRecords
from tasks.jobs.redis_client import retrying
from tasks.jobs.runner import ChoiceResult


@dataclass(frozen=True)
class ResumeState:
    """The replay of a job, sorted into rounds."""

    #: Whether `Accepted` has been emitted.
    accepted: bool
    #: The replayed events of the round that was not finished.
    replayed: list[events.AnyEvent]
    #: The finished rounds.
    rounds: list[Round] = field(default_factory=list)

    @classmethod
    def load(cls, records: JobRecords, record: JobRecord) -> ResumeState:
        """Return the state of a job from its replay, or an empty state if this is the first attempt.

        Raises:
            InvalidRequest: if the replay no longer holds the whole answer, so that it cannot be resumed.
        """
        if record.attempt == 1:
            return cls(accepted=False, replayed=[])
        replay = retrying(records.replay, record.job_id)
        if replay and replay[0][0] != 1:
            raise InvalidRequest("The answer is too long to be resumed after its worker was lost.")
        return cls.from_events([event for _, event in replay])

    @classmethod
    def from_events(cls, replayed: Sequence[events.AnyEvent]) -> ResumeState:
        """Sort replayed events into rounds."""
        rounds: list[Round] = []
        current: list[events.AnyEvent] = []
        for event in replayed:
            if isinstance(event, events.RoundFinished):
                (choice,) = _replayed_choices(current, 1)
                choice.result.finish_reason = event.finish_reason
                rounds.append(Round(choice.result, event.usage, event.timings))
                current = []
            elif isinstance(event, events.ToolResult):
                rounds[-1].record_result(event)
            else:
                current.append(event)
        return cls(any(isinstance(event, events.Accepted) for event in replayed), current, rounds)

    def choices(self, n: int, make_parser: Callable[[], CallParser] | None = None) -> list[Choice]:
        """Return the choices of the round that was not finished. With `make_parser`, they find calls in new text."""
        choices = _replayed_choices(self.replayed, n)
        if make_parser is not None:
            for choice in choices:
                replayed_calls = len(choice.result.tool_calls) + len(choice.result.tool_results)
                choice.open = left_open(choice.result)
                replayed_calls -= choice.open is not None
                choice.reader = CallReader(make_parser(), len(choice.result.text), replayed_calls)
        return choices


def _replayed_choices(replayed: Sequence[events.AnyEvent], n: int) -> list[Choice]:
    choices = [Choice(ChoiceResult(index=index)) for index in range(n)]
    for event in replayed:
        if isinstance(event, events.TextDelta):
            choice = choices[event.index]
            choice.token_ids.extend(event.token_ids)
            choice.result.text += event.text
            choice.result.logprobs.extend(event.logprobs)
        elif isinstance(event, events.ReasoningDelta):
            choices[event.index].token_ids.extend(event.token_ids)
            choices[event.index].result.reasoning += event.text
        elif isinstance(event, events.ToolCallDelta):
            _replay_call(choices[event.index], event)
        elif isinstance(event, events.ChoiceFinished):
            choices[event.index].result.finish_reason = event.finish_reason
            choices[event.index].result.schema_errors = event.schema_errors
            choices[event.index].result.grounding = event.grounding
    return choices


def _replay_call(choice: Choice, event: events.ToolCallDelta) -> None:
    choice.token_ids.extend(event.token_ids)
    if event.id is not None:
        choice.open_call(event.id, event.name or "", "", server=event.server)
    # Only one call is emitted at a time, so a piece always belongs to the call that was opened last.
    call = choice.result.tool_results[-1] if event.server else choice.result.tool_calls[-1]["function"]
    call["arguments"] += event.arguments
