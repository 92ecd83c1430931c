"""What a request changes in the logits before a token is chosen: biases, and penalties for tokens that it has."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.messages import SamplingParams

#: How many of the last tokens `repeat_penalty` considers, prompt included, as in llama.cpp.
REPEAT_WINDOW_TOKENS = 64


class LogitChanges:
    """The changes for one sequence, with the tokens that its penalties depend on. Rounded as llama.cpp does."""

    def __init__(
        self, sampling: SamplingParams, bias: Mapping[int, float], prompt: Sequence[int], generated: Sequence[int]
    ) -> None:
        self._biased = np.array(sorted(bias), np.int64)
        self._biases = np.array([bias[token] for token in sorted(bias)], np.float32)
        self._repeat = np.float32(sampling.repeat_penalty)
        self._frequency = np.float32(sampling.frequency_penalty)
        self._presence = np.float32(sampling.presence_penalty)
        self._counts_answer = bool(sampling.frequency_penalty or sampling.presence_penalty)
        self._recent: deque[int] = deque(maxlen=REPEAT_WINDOW_TOKENS)
        #: How often each token is in the answer. The prompt does not count, as OpenAI defines these penalties.
        self._counts: Counter[int] = Counter()
        if self._repeat != 1:
            self._recent.extend([*prompt[-REPEAT_WINDOW_TOKENS:], *generated])
        if self._counts_answer:
            self._counts.update(generated)

    @property
    def depend_on_tokens(self) -> bool:
        """Whether the changes depend on the tokens before."""
        return self._counts_answer or bool(self._repeat != 1)

    def add(self, token: int) -> None:
        """Remember the next token of the answer."""
        if self._repeat != 1:
            self._recent.append(token)
        if self._counts_answer:
            self._counts[token] += 1

    def replace(self, last: int, token: int) -> None:
        """Remember a token that comes instead of the last one."""
        if self._repeat != 1:
            self._recent[-1] = token
        if self._counts_answer:
            self._counts[last] -= 1
            self._counts[token] += 1

    def of(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
        """Return the tokens whose logits change, and their logits afterwards; None if there are none."""
        if not self._recent and not self._counts:
            return (self._biased, logits[self._biased] + self._biases) if self._biased.size else None
        repeated = np.fromiter(self._recent, np.int64, len(self._recent))
        counted = {token: count for token, count in self._counts.items() if count}
        in_answer = np.fromiter(counted.keys(), np.int64, len(counted))
        ids = np.unique(np.concatenate([self._biased, repeated, in_answer]))
        changed = logits[ids]
        changed[np.searchsorted(ids, self._biased)] += self._biases
        at = np.searchsorted(ids, np.unique(repeated))
        before = changed[at]
        changed[at] = np.where(before <= 0, before * self._repeat, before / self._repeat)
        counts = np.fromiter(counted.values(), np.float32, len(counted))
        changed[np.searchsorted(ids, in_answer)] -= counts * self._frequency + self._presence
        return ids, changed
