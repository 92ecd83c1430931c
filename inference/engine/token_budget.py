"""How many prompt tokens a step may carry while others decode, so that their streams do not stutter. Pure."""

from __future__ import annotations

#: A step that carries a piece of a prompt takes at most so many times as long as one without.
LONGEST_STEP = 3.0
#: Smaller pieces waste the processor: below this, what a token costs rises.
LEAST_TOKENS = 16
#: Weight of the latest step in the running averages.
WEIGHT = 0.2


class TokenBudget:
    """Learns what decoding and prompt tokens cost on this machine, in seconds."""

    def __init__(self, most_tokens: int) -> None:
        self._most = most_tokens
        self._decode_seconds: float | None = None
        self._prompt_token_seconds: float | None = None

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens for the next step."""
        if self._decode_seconds is None or self._prompt_token_seconds is None:
            return min(4 * LEAST_TOKENS, self._most)
        extra = (LONGEST_STEP - 1) * self._decode_seconds / self._prompt_token_seconds
        return max(min(LEAST_TOKENS, self._most), min(int(extra), self._most))

    def observe(self, prompt_tokens: int, decoding: int, seconds: float) -> None:
        """Takes in a step of `seconds` that computed `prompt_tokens` and one token of each of `decoding` sequences."""
        if not prompt_tokens:
            self._decode_seconds = _average(self._decode_seconds, seconds)
            return
        prompt_seconds = seconds - ((self._decode_seconds or 0.0) if decoding else 0.0)
        self._prompt_token_seconds = _average(self._prompt_token_seconds, max(prompt_seconds, 1e-6) / prompt_tokens)


def _average(old: float | None, new: float) -> float:
    return new if old is None else old + WEIGHT * (new - old)
