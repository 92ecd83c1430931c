"""The events of a job: the only vocabulary between the workers and those who wait for them.

On the wire an event is `<sequence number> <json>`. Redis assigns the number when the event is appended to the job's
replay list, so the numbers have no gaps, whichever worker publishes. The attempt says which try at the job made the
event.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.errors import ErrorInfo
from core.messages import Grounding, Hit, Timings, TokenLogprob, Usage


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", kw_only=True):
    """The fields that all events have. `created` is the Unix time in seconds at which the worker made the event."""

    job_id: str
    attempt: int
    created: float = 0.0


class Queued(Event, frozen=True, tag="queued"):
    """The job is in its queue, with `position` jobs before it.

    If that is so because its language model has to be loaded, `reason` is `loading`, and `percent` of it have been.
    `estimated_start_seconds` is filled in for those who read the event, since it changes all the time.
    """

    position: int
    reason: str | None = None
    percent: int | None = None
    estimated_start_seconds: float | None = None


class Accepted(Event, frozen=True, tag="accepted"):
    """The request is valid and fits the context. The client is sent nothing before this."""

    model: str
    prompt_tokens: int = 0
    #: With TRUNCATION=oldest: how many messages were dropped because the context has no room for them.
    dropped_messages: int = 0


class Started(Event, frozen=True, tag="started"):
    """The job has a slot."""


class Retrieved(Event, frozen=True, tag="retrieved"):
    """The chunks that the answer will be built from."""

    hits: list[Hit]


class TextDelta(Event, frozen=True, tag="text"):
    """New text of choice `index`: never empty, never half a character. `token_ids` may be ahead of the text."""

    text: str
    index: int = 0
    token_ids: list[int] = []
    logprobs: list[TokenLogprob] = []


class ReasoningDelta(Event, frozen=True, tag="reasoning"):
    """New text of what choice `index` thinks before it answers: never empty, and no part of the answer's text."""

    text: str
    index: int = 0
    token_ids: list[int] = []


class ToolCallDelta(Event, frozen=True, tag="tool_call"):
    """A piece of tool call number `call_index` of choice `index`; `id` and `name` come once, with the first piece.

    The first piece carries the `token_ids` of the whole call, because all pieces of a call are emitted together. The
    server runs the call if `server` is true, otherwise the client does; the two kinds are numbered separately.
    """

    call_index: int
    index: int = 0
    server: bool = False
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    token_ids: list[int] = []


class ToolResult(Event, frozen=True, tag="tool_result"):
    """The result of a function that the server ran."""

    call_id: str
    name: str
    result: Any = None
    error: str | None = None


class RoundFinished(Event, frozen=True, tag="round_finished"):
    """The model has called functions that the server runs. Their results follow; then it goes on, or the choice ends.

    `finish_reason` says why the round ended: `tool_calls`, or `length` if it was cut off.
    """

    finish_reason: str
    usage: Usage = Usage()
    timings: Timings = Timings()


class ChoiceFinished(Event, frozen=True, tag="choice_finished"):
    """Choice `index` is complete; `Finished` follows when all are.

    `schema_errors` say what it violates of the client's schemas, as far as no grammar could enforce them. `grounding`
    is that of an answer from documents.
    """

    finish_reason: str
    index: int = 0
    schema_errors: list[str] = []
    grounding: Grounding | None = None


class Progress(Event, frozen=True, tag="progress"):
    """How far a download is: `done_bytes` of `total_bytes` are there, those of former attempts included."""

    done_bytes: int
    total_bytes: int


class Finished(Event, frozen=True, tag="finished"):
    """Terminal: done. `result` is the answer of jobs that do not stream (embeddings, search, documents)."""

    model: str = ""
    usage: Usage = Usage()
    timings: Timings = Timings()
    result: Any = None


class Failed(Event, frozen=True, tag="failed"):
    """Terminal: an error, with the HTTP status to answer if no byte has been sent yet."""

    error: ErrorInfo


class Cancelled(Event, frozen=True, tag="cancelled"):
    """Terminal: the client cancelled the job or disconnected, or the deadline passed."""

    reason: str = "cancelled"


AnyEvent = (
    Queued
    | Accepted
    | Started
    | Retrieved
    | TextDelta
    | ReasoningDelta
    | ToolCallDelta
    | ToolResult
    | RoundFinished
    | ChoiceFinished
    | Progress
    | Finished
    | Failed
    | Cancelled
)
TERMINAL_EVENTS = (Finished, Failed, Cancelled)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: AnyEvent) -> bytes:
    """Return the JSON of an event, without its sequence number."""
    return _encoder.encode(event)


def decode(data: bytes | str) -> AnyEvent:
    """Return the event in a JSON text.

    Raises:
        msgspec.DecodeError: if the text is not an event.
    """
    return _decoder.decode(data)


def split_frame(frame: bytes) -> tuple[int, bytes]:
    """Return the sequence number and the JSON of a stored or published event."""
    number, _, payload = frame.partition(b" ")
    return int(number), payload


def is_terminal(event: AnyEvent) -> bool:
    """Return whether this event is the last of its job."""
    return isinstance(event, TERMINAL_EVENTS)
