"""Chooses how many tokens of each prompt a step computes. Pure.

With a stream of the KV cache for each sequence, llama.cpp computes a step in passes: first as many tokens of each
sequence as all of them have, then the next ones of those that have more. Where attention is computed in tiles of query
rows, a pass with fewer rows of a sequence takes longer for each of them, the more so the longer the sequence is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PieceLimits:
    """How many tokens the piece of a prompt may have if it is the only one in a step."""

    #: If its rows do not fill a tile.
    short: int
    #: If they do; where this is less than a tile, none fits.
    tiled: int

    @classmethod
    def of(cls, tokens: int) -> PieceLimits:
        return cls(tokens, tokens)


class PromptPieces:
    """The pieces of one step."""

    def __init__(self, tile: int, room: int, *, beside: int, equal: bool) -> None:
        """
        Args:
            tile: the query rows of a tile of attention; 1 if a row costs the same beside any number of others.
            room: the most tokens of all pieces.
            beside: how many tokens of each piece are computed in the passes of the decoding sequences.
            equal: whether all pieces must have the same length.
        """
        self.room = room
        self._tile = tile
        self._beside = beside if tile > 1 else 0
        self._equal = equal
        #: The length of the last piece.
        self._length = 0
        #: The share of the step's time that is left.
        self._left = 1.0

    def choose(self, pending: int, limits: PieceLimits) -> int:
        """Return the length of the next piece, of a prompt that lacks `pending` tokens; 0 if it has to wait."""
        short, tiled = (min(self.room, int(self._left * most + 1e-6)) for most in (limits.short, limits.tiled))
        if self._length and self._equal:
            length = self._length if self._length <= min(pending, tiled if self._tiles(self._length) else short) else 0
            count = length if self._tiles(length) or not self._tiles(pending) else 0
        elif self._length and self._tiles(pending):
            count = pending if pending <= tiled else tiled // self._tile * self._tile
        else:
            count = self._first(pending, short, tiled)
        if count:
            most = limits.tiled if self._tiles(count) else limits.short
            self._length, self.room, self._left = count, self.room - count, max(0.0, self._left - count / most)
        return count

    def _tiles(self, tokens: int) -> int:
        """Return how many whole tiles a piece fills."""
        return max(0, tokens - self._beside) // self._tile

    def _first(self, pending: int, short: int, tiled: int) -> int:
        """Return the length of the first piece: whole tiles, such that the last piece fills a tile, too.

        If only one tile fits, the odd tokens come first: their rows attend to the fewest cells then.
        """
        if not self._tiles(tiled) or not self._tiles(pending):
            return min(pending, short, max(1, self._beside + self._tile - 1))
        if pending <= tiled:
            return pending
        whole = self._beside + self._tiles(tiled) * self._tile
        if self._tiles(tiled) > 1:
            return whole if pending - whole >= self._tile else whole - self._tile
        odd = pending % whole
        return whole + odd if whole + odd <= tiled else min(odd, short)
