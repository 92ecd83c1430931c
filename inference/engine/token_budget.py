"""Decides how many prompt tokens a step may compute while others decode, so that their streams do not stutter. Pure."""

from __future__ import annotations

#: However short STREAM_GAP_MS is, a step with a piece of a prompt may take this many times as long as one without.
LEAST_STEPS = 2.0
#: The smallest piece of a prompt: in smaller ones each token costs more.
LEAST_TOKENS = 16
#: Weight of the latest step in the running averages.
WEIGHT = 0.2


class TokenBudget:
    """Measures how long decoding and prompt tokens take on this machine, and derives the budget from that."""

    def __init__(self, most_tokens: int, gap_seconds: float) -> None:
        """
        Args:
            most_tokens: of a step.
            gap_seconds: the longest that a step with a piece of a prompt may take while others decode.
        """
        self._most = most_tokens
        self._gap_seconds = gap_seconds
        self._decode_seconds: float | None = None
        self._prompt_token_seconds: float | None = None

    @property
    def prompt_tokens(self) -> int:
        """The most prompt tokens in the next step."""
        if self._decode_seconds is None or self._prompt_token_seconds is None:
            return min(4 * LEAST_TOKENS, self._most)
        longest = max(self._gap_seconds, LEAST_STEPS * self._decode_seconds)
        extra = (longest - self._decode_seconds) / self._prompt_token_seconds
        return max(min(LEAST_TOKENS, self._most), min(int(extra), self._most))

    def observe(self, prompt_tokens: int, decoding: int, seconds: float) -> None:
        """Record that a step took `seconds` for `prompt_tokens` and one token of each of `decoding` sequences."""
        if not prompt_tokens:
            self._decode_seconds = _average(self._decode_seconds, seconds)
            return
        prompt_seconds = seconds - ((self._decode_seconds or 0.0) if decoding else 0.0)
        self._prompt_token_seconds = _average(self._prompt_token_seconds, max(prompt_seconds, 1e-6) / prompt_tokens)


def _average(old: float | None, new: float) -> float:
    return new if old is None else old + WEIGHT * (new - old)
