"""Prompt lookup decoding: guesses the next tokens by finding the last ones earlier in the text. Pure.

The guesses are verified in the same step as the token before them, so the distribution of the output does not change.
How long a guess is follows how many of the last ones were right.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_DRAFT_TOKENS = 8
NGRAM_TOKENS = 3
#: Below this share of right guesses, drafting costs more than it brings (a row in the batch is not free).
LEAST_ACCEPTANCE = 0.35
#: Steps without a draft before it is tried again.
REST_STEPS = 16


class PromptLookup:
    """The drafts of one sequence. Keeps an index of all n-grams of its text."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, ...], int] = {}
        self._indexed = 0
        self._acceptance = 1.0
        self._rest = 0

    def draft(self, tokens: Sequence[int], limit: int) -> list[int]:
        """At most `limit` tokens that may follow `tokens`; empty where nothing suggests any."""
        follows = self._find(tokens)
        if self._rest:
            self._rest -= 1
            return []
        if follows is None:
            return []
        length = min(limit, max(1, round(self._acceptance * MAX_DRAFT_TOKENS)))
        return list(tokens[follows : follows + length])

    def observe(self, drafted: int, accepted: int) -> None:
        """Takes in how a draft has fared."""
        if not drafted:
            return
        self._acceptance += 0.3 * (accepted / drafted - self._acceptance)
        if self._acceptance < LEAST_ACCEPTANCE:
            self._rest, self._acceptance = REST_STEPS, 0.5

    def _find(self, tokens: Sequence[int]) -> int | None:
        """Where the text went on after the last occurrence of its last n-gram before now."""
        end = len(tokens)
        # The n-gram at the very end is looked up before it is indexed, or it would find itself.
        for stop in range(max(self._indexed + 1, NGRAM_TOKENS), end):
            self._ends[tuple(tokens[stop - NGRAM_TOKENS : stop])] = stop
        self._indexed = max(self._indexed, end - 1)
        return self._ends.get(tuple(tokens[end - NGRAM_TOKENS : end])) if end >= NGRAM_TOKENS else None
