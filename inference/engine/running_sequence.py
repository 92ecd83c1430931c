"""The text side of one running sequence: sampling, detokenizing, log probabilities, and when to stop."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import LlmApiError
from core.messages import TokenLogprob
from inference.engine.backend import Backend
from inference.engine.prompt_lookup import MAX_DRAFT_TOKENS, PromptLookup
from inference.engine.reasoned_constraint import ReasonedConstraint
from inference.engine.sampling import token_logprob
from inference.engine.sequence import ActiveSequence, FinishReason
from inference.grammars.constraint import Constraint
from inference.text.detokenizer import Detokenizer
from inference.text.reasoning import Phase


@dataclass(slots=True)
class Produced:
    """What one step has produced for one sequence."""

    text: str = ""
    #: What was thought, before the text.
    reasoning: str = ""
    token_ids: list[int] = field(default_factory=list)
    #: Of the tokens of the answer's text.
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    #: How many draft tokens were accepted.
    accepted: int = 0
    #: How many of the tokens are the prompt's, which were scored.
    scored: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A sampled token that the constraint has not accepted, and the logits it was sampled from, if they are needed."""

    token: int
    logits: NDArray[np.float32] | None


class RunningSequence:
    """The sampler, grammar and detokenizer of a sequence, from its first admission to its end; preemptions keep it."""

    def __init__(self, sequence: ActiveSequence, backend: Backend, context_length: int, seed: int) -> None:
        request = sequence.request
        self.sequence = sequence
        self._backend = backend
        self._sampling = request.sampling
        scored = request.scored_token_ids
        self._most_tokens = min(len(scored) + request.max_tokens, context_length - sequence.prompt_length)
        #: The tokens that an earlier attempt generated, without those that it scored.
        self._resumed = request.resume_token_ids[len(scored) :]
        prompt = [*request.prompt_token_ids, *scored]
        self._sampler = backend.create_sampler(request.sampling, seed, prompt, self._resumed)
        self._reasoned: ReasonedConstraint | None = None
        self._constraint = self._new_constraint()
        self._lookup = PromptLookup() if request.prompt_lookup and backend.can_trim else None
        self._detokenizer = Detokenizer(
            backend.token_bytes,
            request.sampling.stop,
            request.resume_text_length,
            request.marks,
            request.reasoning,
            request.resume_reasoning_length,
        )
        #: Of the tokens of which it is not known yet whether they are reasoning.
        self._undecided = 0
        self._undecided_logprobs: list[TokenLogprob] = []
        self._proposal: Proposal | None = None
        self._search: Future[Any] | None = None
        #: Why the grammar cannot go on.
        self._error: LlmApiError | None = None
        #: Text of the resumed tokens that the earlier attempt had not sent.
        self._backlog = ""
        #: Set if the resumed tokens are already a complete answer.
        self.finished_by_resume: FinishReason | None = None
        self._replay()

    def draft(self) -> list[int]:
        """Return a draft of the tokens after the next one: what is to be scored, or what prompt lookup finds if on."""
        if left := self.sequence.unscored:
            # Not the last one: a step that samples a token has no rows of scored ones.
            return left[: min(MAX_DRAFT_TOKENS, len(left) - 1)]
        if self._lookup is None or self._constraint is not None or self._sampling.logprobs:
            return []
        limit = min(MAX_DRAFT_TOKENS, self._most_tokens - self.sequence.generated - 1)
        return self._lookup.draft(self.sequence.tokens, limit) if limit > 0 else []

    def expect(self, row: int) -> None:
        """Announce to the sampler that `advance` follows, so that the rows of all sequences are computed at once."""
        if self.sequence.unscored:
            return
        if self._constraint is None:
            self._sampler.expect(range(row, row + 1 + len(self.sequence.draft)))
        elif self._proposal is None:  # otherwise a preempted sequence has computed its tokens again
            try:
                self._sampler.expect(range(row, row + 1), self._constraint.mask())
            except LlmApiError as error:
                self._error = error

    def advance(self, row: int) -> Produced | None:
        """Sample the next token at `row`, then one in each row after it as long as they confirm the draft.

        Return None if the constraint must search before it is known which token comes: see `waits_for` and `decide`.
        """
        if self._error is not None:
            raise self._error
        if self.sequence.unscored:
            return self._score(row)
        if self._constraint is not None:
            if self._proposal is None:
                self._proposal = self._propose(row)
            return self.decide()
        produced = Produced(text=self._take_backlog())
        draft = self.sequence.draft
        for at in range(len(draft) + 1):
            token = self._sampler.sample(row + at)
            self._take(token, self._logits(row + at), produced)
            is_confirmed = at < len(draft) and token == draft[at]
            if is_confirmed and produced.finish_reason is None:
                produced.accepted += 1
            else:
                break
        if self._lookup is not None:
            self._lookup.observe(len(draft), produced.accepted)
        return produced

    @property
    def waits_for(self) -> Future[Any] | None:
        """The search without which the next token is not known."""
        return self._search

    def decide(self) -> Produced | None:
        """Take the token that was proposed, or the one that must come instead; None if a search must end before."""
        proposal, constraint = self._proposal, self._constraint
        if proposal is None or constraint is None:
            return None
        token = proposal.token
        if self._ends(token):
            if self._reasoned is not None and self._reasoned.is_reasoning:
                token = self._reasoned.end_reasoning()  # the answer that the grammar describes must follow
                self._sampler.remember(token)
        else:
            self._search = constraint.check(token)
            if self._search is not None:
                return None
            if (instead := constraint.replacement(token)) is not None:
                token = instead
                self._sampler.remember(token)
        self._proposal = None
        if not self._ends(token):
            constraint.accept(token)
        produced = Produced(text=self._take_backlog())
        self._take(token, proposal.logits, produced)
        return produced

    def finish(self) -> tuple[str, str]:
        """Return the reasoning and the text that were held back until the end."""
        text = self._take_backlog() + self._detokenizer.finish()
        return self._detokenizer.take_reasoning(), text

    def close(self) -> None:
        self._sampler.close()

    def _score(self, row: int) -> Produced:
        """Take the next tokens of the prompt, each with its log probability from the row before it."""
        count = 1 + len(self.sequence.draft)
        tokens = self.sequence.unscored[:count]
        produced = Produced(token_ids=tokens, accepted=count - 1, scored=count)
        for at, token in enumerate(tokens):
            produced.logprobs += self._logprob(token, self._logits(row + at))
        self.sequence.tokens.extend(tokens)
        produced.finish_reason = self._reason()
        return produced

    def _propose(self, row: int) -> Proposal:
        token = self._sampler.sample(row)
        logits = self._logits(row)
        return Proposal(token, None if logits is None else logits.copy())

    def _logits(self, row: int) -> NDArray[np.float32] | None:
        return self._backend.logits(row) if self._sampling.logprobs else None

    def _logprob(self, token: int, logits: NDArray[np.float32] | None) -> list[TokenLogprob]:
        """Return the log probability of a token, or none if that is not wanted."""
        is_raw = self.sequence.request.raw_logprobs
        if logits is None or not (is_raw or not self._ends(token)):
            return []
        return [token_logprob(logits, token, self._sampling.top_logprobs, self._backend, names=is_raw)]

    def _take(self, token: int, logits: NDArray[np.float32] | None, produced: Produced) -> None:
        self._undecided_logprobs += self._logprob(token, logits)
        if self._ends(token):
            phase = self._detokenizer.phase
            produced.finish_reason = FinishReason.STOP
        else:
            self.sequence.tokens.append(token)
            produced.token_ids.append(token)
            text, phase = self._push(token)
            produced.text += text
            produced.finish_reason = self._reason()
        produced.reasoning += self._detokenizer.take_reasoning()
        if phase is Phase.ANSWER or (phase is Phase.UNDECIDED and produced.finish_reason is not None):
            produced.logprobs += self._undecided_logprobs
        if phase is not Phase.UNDECIDED:
            self._undecided_logprobs.clear()

    def _push(self, token: int) -> tuple[str, Phase]:
        """Take a token, and count it if it is reasoning. Return the text that is safe now, and what the token is."""
        was_reasoning = self._detokenizer.phase is Phase.REASONING
        text = self._detokenizer.push(token)
        phase = Phase.REASONING if was_reasoning else self._detokenizer.phase
        self._undecided += 1
        if phase in (Phase.REASONING, Phase.GAP):
            self.sequence.reasoning_tokens += self._undecided
        if phase is not Phase.UNDECIDED:
            self._undecided = 0
        return text, phase

    def _reason(self) -> FinishReason | None:
        if self._detokenizer.stop_found or (self._constraint is not None and self._constraint.is_complete):
            return FinishReason.STOP
        return FinishReason.LENGTH if self.sequence.generated >= self._most_tokens else None

    def _ends(self, token: int) -> bool:
        return self._backend.is_end(token)

    def _new_constraint(self) -> Constraint | None:
        request = self.sequence.request
        if request.constraint is None or request.reasoning is None:
            return request.constraint() if request.constraint else None
        self._reasoned = ReasonedConstraint(
            request.constraint, request.reasoning, self._backend, self._backend.model.vocab_size, self._most_tokens
        )
        return self._reasoned

    def _replay(self) -> None:
        """Restore the state at which an earlier attempt stopped; text that it held back comes with the next token."""
        if self._constraint is not None and self._resumed:
            self._constraint.resume(self._resumed)
        for token in self._resumed:
            self._backlog += self._push(token)[0]
        if self.sequence.request.resume_token_ids:
            self.finished_by_resume = self._reason()

    def _take_backlog(self) -> str:
        text, self._backlog = self._backlog, ""
        return text
