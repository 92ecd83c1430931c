"""Requests to the engine, its events, and the state of one sequence while it is in the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from core.errors import LlmApiError
from core.messages import Priority, SamplingParams, Timings, TokenLogprob, Usage
from inference.grammars.constraint import ConstraintFactory
from inference.text.reasoning import Reasoning


class FinishReason(StrEnum):
    """Why a sequence finished."""

    #: The model ended its answer, or a stop string occurred.
    STOP = "stop"
    #: `max_tokens` or the context was used up.
    LENGTH = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRequest:
    """One sequence to generate. Several with the same prompt share its cache (`n` choices)."""

    sequence_id: str
    prompt_token_ids: list[int]
    #: The rest of the prompt, if its log probabilities are wanted. These tokens are fed as if they had been generated,
    #: and emitted with their log probabilities but without text.
    scored_token_ids: list[int] = field(default_factory=list)
    sampling: SamplingParams = SamplingParams()
    #: The most tokens to generate, the resumed ones included, but not those that are scored.
    max_tokens: int = 256
    priority: Priority = "interactive"
    #: The API key that the request came with: slots are shared fairly among keys.
    key: str = ""
    #: Unix time in seconds after which nobody waits for the answer.
    deadline: float | None = None
    #: Tokens that an earlier attempt scored and generated: the answer continues after them.
    resume_token_ids: list[int] = field(default_factory=list)
    #: Characters of the answer that were already sent; only the text after them is emitted.
    resume_text_length: int = 0
    #: The same of the reasoning.
    resume_reasoning_length: int = 0
    #: Creates the state of a compiled grammar; called on the engine's thread.
    constraint: ConstraintFactory | None = None
    #: How the answer may contain reasoning, which neither stop strings nor the grammar apply to; None: not at all.
    reasoning: Reasoning | None = None
    #: Control tokens that must be visible in the answer's text, each with its stand-in; all others have no text.
    marks: Mapping[int, str] = field(default_factory=dict)
    #: Whether drafts may be taken from the prompt, which pays if the answer quotes it.
    prompt_lookup: bool = False
    #: Whether log probabilities include that of the token that ends the answer, and call control tokens by their names.
    raw_logprobs: bool = False


def constrained(request: SequenceRequest, grammar: ConstraintFactory | None) -> SequenceRequest:
    """Return the request with a grammar for its answer, or unchanged if there is none."""
    if grammar is None:
        return request
    reasoning = request.reasoning
    if reasoning is not None:
        reasoning = replace(reasoning, is_constrained=True)
    return replace(request, constraint=grammar, reasoning=reasoning)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceEvent:
    """The base of all events of the engine; `produced_at` is Unix time in seconds."""

    sequence_id: str
    produced_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceStarted(SequenceEvent):
    """The sequence got a slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceDelta(SequenceEvent):
    """New tokens. `text` is what is safe to show: it may lag behind `token_ids` or be empty, and so may `reasoning`.

    What is thought comes before the text of the same event.
    """

    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprob] = field(default_factory=list)
    reasoning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceFinished(SequenceEvent):
    """Terminal: the sequence is complete."""

    finish_reason: FinishReason
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceFailed(SequenceEvent):
    """Terminal: the sequence failed."""

    error: LlmApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceAborted(SequenceEvent):
    """Terminal: the sequence was aborted (`reason` says why: cancelled, deadline, engine closed)."""

    reason: str


Sink = Callable[[Sequence[SequenceEvent]], None]


@dataclass(slots=True, eq=False)
class ActiveSequence:
    """A sequence in the scheduler. `tokens[:computed]` are in the KV cache under `seq_id`; the others are pending."""

    request: SequenceRequest
    #: Prompt, then resumed, then generated tokens.
    tokens: list[int]
    arrived_at: float = 0.0
    #: Position in the order of arrival: earlier ones are served first and preempted last.
    order: int = 0
    seq_id: int | None = None
    computed: int = 0
    #: Tokens of the prompt that the cache held at the first admission.
    cached_tokens: int = 0
    #: Whether a longer prefix may be reused while it runs: not once that has failed, for it would fail again.
    may_reuse: bool = True
    #: The generated tokens that are reasoning, with its tags.
    reasoning_tokens: int = 0
    #: Drafted tokens that may follow `tokens`; the next step verifies them.
    draft: list[int] = field(default_factory=list)
    started_at: float | None = None
    first_token_at: float | None = None
    preemptions: int = 0
    #: Whether this is batch work that has waited long enough to be treated as interactive.
    is_due: bool = False

    @classmethod
    def of(cls, request: SequenceRequest, arrived_at: float, order: int) -> ActiveSequence:
        return cls(request, [*request.prompt_token_ids, *request.resume_token_ids], arrived_at, order)

    @property
    def held_id(self) -> int:
        """The `seq_id` of a sequence that is known to be running."""
        if self.seq_id is None:
            raise RuntimeError(f"sequence {self.request.sequence_id} has no slot")
        return self.seq_id

    @property
    def yields(self) -> bool:
        """Whether interactive work may take its slot."""
        return self.request.priority == "batch" and not self.is_due

    @property
    def prompt_length(self) -> int:
        """The number of tokens in the prompt."""
        return len(self.request.prompt_token_ids)

    @property
    def generated(self) -> int:
        """The number of tokens generated so far, resumed and scored ones included."""
        return len(self.tokens) - self.prompt_length

    @property
    def unscored(self) -> list[int]:
        """The tokens of the prompt that are still to be scored."""
        return self.request.scored_token_ids[self.generated :]

    @property
    def pending(self) -> int:
        """The number of tokens that are not in the KV cache yet: one while decoding, none while the next is unknown."""
        return len(self.tokens) - self.computed

    @property
    def is_decoding(self) -> bool:
        """Whether its next step computes a single token."""
        return self.pending == 1 and self.first_token_at is not None


def importance(sequence: ActiveSequence) -> tuple[bool, int]:
    """Return a sort key: the least important comes last, which is batch work, then what arrived later."""
    return (sequence.yields, sequence.order)
