"""Prompt lookup decoding: drafts the next tokens from where the last ones occurred earlier in the text. Pure.

Drafts are verified in the same step as the token before them, so the distribution of the output does not change. A
draft's length depends on how many of the latest draft tokens were accepted.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_DRAFT_TOKENS = 8
NGRAM_TOKENS = 3
#: Below this share of accepted tokens, drafting costs more than it saves: each draft token is a row in the batch.
LEAST_ACCEPTANCE = 0.35
#: Steps without a draft before drafting is tried again.
REST_STEPS = 16


class PromptLookup:
    """Drafts for one sequence, from an index of all n-grams in its text."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, ...], int] = {}
        self._indexed = 0
        self._acceptance = 1.0
        self._rest = 0

    def draft(self, tokens: Sequence[int], limit: int) -> list[int]:
        """Return at most `limit` tokens that may follow `tokens`; none if their last n-gram has not occurred before."""
        follows = self._find(tokens)
        if self._rest:
            self._rest -= 1
            return []
        if follows is None:
            return []
        length = min(limit, max(1, round(self._acceptance * MAX_DRAFT_TOKENS)))
        return list(tokens[follows : follows + length])

    def observe(self, drafted: int, accepted: int) -> None:
        """Record how many tokens of a draft were accepted."""
        if not drafted:
            return
        self._acceptance += 0.3 * (accepted / drafted - self._acceptance)
        if self._acceptance < LEAST_ACCEPTANCE:
            self._rest, self._acceptance = REST_STEPS, 0.5

    def _find(self, tokens: Sequence[int]) -> int | None:
        """Return the position after the previous occurrence of the last n-gram, or None if there is none."""
        end = len(tokens)
        # The n-gram at the very end is looked up before it is indexed, or it would find itself.
        for stop in range(max(self._indexed + 1, NGRAM_TOKENS), end):
            self._ends[tuple(tokens[stop - NGRAM_TOKENS : stop])] = stop
        self._indexed = max(self._indexed, end - 1)
        return self._ends.get(tuple(tokens[end - NGRAM_TOKENS : end])) if end >= NGRAM_TOKENS else None
