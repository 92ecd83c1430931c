"""Decides how long pieces of prompts may be while others decode, so that their streams do not stutter. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from inference.engine.prompt_pieces import PieceLimits

#: However short STREAM_GAP_MS is, a step with a piece of a prompt may take this many times as long as one without.
LEAST_STEPS = 2.0
#: A step may take this many times as long as allowed if that makes room for a tile: with fewer tokens, each of them may
#: cost twice as much.
TILE_SLACK = 1.2
#: The smallest piece of a prompt: in smaller ones each token costs more.
LEAST_TOKENS = 16
#: How much an observation counts for when the next one of its kind comes.
KEEP = 0.9
#: Observations as close together as this share of their mean say little about the slope between them.
NARROW = 0.1
#: The most that an observation may exceed what was expected: a step in which the machine paused says little.
MOST_SURPRISE = 2.0
#: How much of the mean observation may be due to a slope: something is left at zero.
STEEPEST = 0.9


class TokenBudget:
    """Measures how long decoding and pieces of prompts take on this machine, and derives the limits from that."""

    def __init__(self, most_tokens: int, gap_seconds: float, tile: int = 1) -> None:
        """
        Args:
            most_tokens: of a step.
            gap_seconds: the longest that a step with a piece of a prompt may take while others decode.
            tile: the query rows of a tile of attention. Shorter pieces are measured apart: their tokens cost more.
        """
        self._most = most_tokens
        self._gap_seconds = gap_seconds
        #: The shortest piece that fills a tile: one of its tokens is computed together with the decoding sequences.
        self._shortest_tiled = tile + 1 if tile > 1 else 1
        #: Seconds of a step without prompts, by the number of sequences.
        self._decode = _Line()
        #: Seconds of each token of a piece, by the tokens that precede it in its sequence.
        self._short, self._tiled = _Line(), _Line()

    def limits(self, decoding: int, start: int) -> PieceLimits:
        """Return the limits for a piece that follows `start` tokens, in a step in which `decoding` sequences decode."""
        decode, tiled, short = self._decode.at(decoding), self._tiled.at(start), self._short.at(start)
        if decode is None or (tiled is None and short is None):
            return PieceLimits.of(min(max(4 * LEAST_TOKENS, self._shortest_tiled), self._most))
        longest = max(self._gap_seconds, LEAST_STEPS * decode)
        # A tile is never slower than its rows one by one, so what these took says when to try one again.
        tile_cost = min(cost for cost in (tiled, short) if cost is not None)
        tokens = self._tokens((longest - decode) / tile_cost)
        if tokens < self._shortest_tiled <= (TILE_SLACK * longest - decode) / tile_cost:
            tokens = self._shortest_tiled
        return PieceLimits(self._tokens((longest - decode) / (short or tile_cost)), tokens)

    def _tokens(self, tokens: float) -> int:
        return max(min(LEAST_TOKENS, self._most), min(int(tokens), self._most))

    def observe(self, pieces: Sequence[tuple[int, int]], decoding: int, seconds: float) -> None:
        """Record that a step took `seconds` for the pieces of prompts and one token of each of `decoding` sequences.

        A piece is given by the number of tokens that precede it, and its own. All have one length while others decode.
        """
        if not pieces:
            self._decode.observe(decoding, seconds)
            return
        is_tiled = min(count for _, count in pieces) >= self._shortest_tiled
        line = self._tiled if is_tiled else self._short
        if decoding or line.at(0) is None:
            seconds -= (self._decode.at(decoding) or 0.0) if decoding else 0.0
            line.observe(fmean(start for start, _ in pieces), max(seconds, 1e-6) / sum(count for _, count in pieces))


@dataclass(slots=True)
class _Line:
    """The straight line nearest to the latest observations, which neither falls nor starts below zero."""

    _count: float = 0.0
    _mean_x: float = 0.0
    _mean_y: float = 0.0
    #: Sums over the observations of (x - mean) ** 2 and of (x - mean) * (y - mean).
    _square: float = 0.0
    _product: float = 0.0

    def observe(self, x: float, y: float) -> None:
        """Record a point. The former ones count for less from now on."""
        if (expected := self.at(x)) is not None:
            y = min(y, MOST_SURPRISE * expected)
        self._count = KEEP * self._count + 1
        from_mean = x - self._mean_x
        self._mean_x += from_mean / self._count
        self._mean_y += (y - self._mean_y) / self._count
        self._square = KEEP * self._square + from_mean * (x - self._mean_x)
        self._product = KEEP * self._product + from_mean * (y - self._mean_y)

    def at(self, x: float) -> float | None:
        """Return y at x, or None if nothing has been observed."""
        if not self._count:
            return None
        spread = self._square + self._count * (NARROW * self._mean_x) ** 2
        steepest = STEEPEST * self._mean_y / self._mean_x if self._mean_x else 0.0
        slope = min(max(0.0, self._product / spread), steepest) if spread else 0.0
        return self._mean_y + slope * (x - self._mean_x)
