"""The text side of one running sequence: sampling, detokenizing, log probabilities, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.messages import TokenLogprob
from inference.engine.backend import Backend
from inference.engine.prompt_lookup import MAX_DRAFT_TOKENS, PromptLookup
from inference.engine.sampling import token_logprob
from inference.engine.sequence import ActiveSequence, FinishReason
from inference.grammars.constraint import Constraint
from inference.text.detokenizer import Detokenizer


@dataclass(slots=True)
class Produced:
    """What one step has produced for one sequence."""

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    #: How many draft tokens were accepted.
    accepted: int = 0


class RunningSequence:
    """The sampler, grammar and detokenizer of a sequence, from its first admission to its end; preemptions keep it."""

    def __init__(self, sequence: ActiveSequence, backend: Backend, context_length: int, seed: int) -> None:
        request = sequence.request
        self.sequence = sequence
        self._backend = backend
        self._sampling = request.sampling
        self._most_tokens = min(request.max_tokens, context_length - sequence.prompt_length)
        self._sampler = backend.create_sampler(
            request.sampling, seed, request.prompt_token_ids, request.resume_token_ids
        )
        self._constraint = request.constraint() if request.constraint else None
        self._lookup = PromptLookup() if request.prompt_lookup and backend.can_trim else None
        self._detokenizer = Detokenizer(
            backend.token_bytes, request.sampling.stop, request.resume_text_length, request.marks
        )
        #: Text of the resumed tokens that the earlier attempt had not sent.
        self._backlog = ""
        #: Set if the resumed tokens are already a complete answer.
        self.finished_by_resume: FinishReason | None = None
        self._replay()

    def draft(self) -> list[int]:
        """Return a draft of the tokens after the next one; empty unless prompt lookup is on."""
        if self._lookup is None or self._constraint is not None or self._sampling.logprobs:
            return []
        limit = min(MAX_DRAFT_TOKENS, self._most_tokens - self.sequence.generated - 1)
        return self._lookup.draft(self.sequence.tokens, limit) if limit > 0 else []

    def advance(self, row: int) -> Produced:
        """Sample the next token at `row`, then one in each row after it as long as they confirm the draft."""
        produced = Produced(text=self._take_backlog())
        draft = self.sequence.draft
        for at in range(len(draft) + 1):
            token = self._choose(row + at, produced)
            self._take(token, produced)
            is_confirmed = at < len(draft) and token == draft[at]
            if is_confirmed and produced.finish_reason is None:
                produced.accepted += 1
            else:
                break
        if self._lookup is not None:
            self._lookup.observe(len(draft), produced.accepted)
        return produced

    def finish(self) -> str:
        """Return the text that was held back until the end."""
        return self._take_backlog() + self._detokenizer.finish()

    def close(self) -> None:
        self._sampler.close()

    def _choose(self, row: int, produced: Produced) -> int:
        token = self._sampler.sample(row, self._constraint.mask() if self._constraint else None)
        if self._constraint is not None and not self._ends(token):
            token = self._constrained(token, row, self._constraint)
        if self._sampling.logprobs and not self._ends(token):
            logits = self._backend.logits(row)
            produced.logprobs.append(
                token_logprob(logits, token, self._sampling.top_logprobs, self._backend.token_bytes)
            )
        return token

    def _constrained(self, token: int, row: int, constraint: Constraint) -> int:
        """Return the token, or another one if the constraint refuses it."""
        if constraint.refuses(token):
            token = self._sampler.sample(row, constraint.mask())
        if not self._ends(token):
            constraint.accept(token)
        return token

    def _take(self, token: int, produced: Produced) -> None:
        if self._ends(token):
            produced.finish_reason = FinishReason.STOP
            return
        self.sequence.tokens.append(token)
        produced.token_ids.append(token)
        produced.text += self._detokenizer.push(token)
        produced.finish_reason = self._reason()

    def _reason(self) -> FinishReason | None:
        if self._detokenizer.stop_found or (self._constraint is not None and self._constraint.is_complete):
            return FinishReason.STOP
        return FinishReason.LENGTH if self.sequence.generated >= self._most_tokens else None

    def _ends(self, token: int) -> bool:
        return self._backend.is_end(token)

    def _replay(self) -> None:
        """Restore the state at which an earlier attempt stopped; text that it held back comes with the next token."""
        for token in self.sequence.request.resume_token_ids:
            if self._constraint is not None:
                self._constraint.accept(token)
            self._backlog += self._detokenizer.push(token)
        if self.sequence.request.resume_token_ids:
            self.finished_by_resume = self._reason()

    def _take_backlog(self) -> str:
        text, self._backlog = self._backlog, ""
        return text
