"""The prompt cache for a KV cache with a stream of cells for each sequence id.

A step visits only the cells of the sequences that it computes. So the tokens of a finished sequence stay in its stream
until another sequence needs it, and a prompt that continues them costs nothing. Other prefixes are copied, from another
stream or from main memory. What is overwritten is parked first.

llama.cpp computes the sequences of a step together if their ids follow one another. Each gap costs another pass over
the weights of the model, and so does each further length of prompts. So gaps between running sequences are closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from inference.engine.cache_operations import Copy, Unpark
from inference.engine.parked_prompts import common_prefix, copied_from, reusable_prefix
from inference.engine.prompt_cache import PromptCache

#: The cost of computing a token, if copying its cells to or from main memory costs 1. On two cores, the starter model
#: computes a token of a prompt in 1.7 ms, and copies one to another stream, by way of main memory, in 0.016 ms.
COMPUTE_COST = 64
#: Tokens that a stream holds, in layers with a sliding window, beyond the window: llama.cpp has cells for a step more.
SPARE_WINDOW_TOKENS = 256
#: Steps for which a gap between running sequences must last before it is closed: mostly a waiting request fills it.
GAP_STEPS = 4


@dataclass(slots=True)
class _Stream:
    tokens: list[int] = field(default_factory=list)
    in_use: bool = False
    #: When it was last released.
    used_at: int = 0
    #: The first position that is there in all layers, those with a sliding window included.
    first: int = 0


@dataclass(frozen=True, slots=True)
class _Reuse:
    """A way to begin a sequence: the stream `target` keeps `kept` of its tokens, or gets a copy of others."""

    target: int
    #: Tokens of the prompt that are in the stream afterwards.
    length: int
    #: In units of moving the cells of one token.
    cost: int
    source: int | None = None
    key: int | None = None

    @property
    def kept(self) -> int:
        return self.length if self.source is None and self.key is None else 0


@dataclass(frozen=True, slots=True)
class _Found:
    """The prefixes of a prompt that are in the cache, by their lengths."""

    #: The length of the prompt.
    tokens: int
    in_streams: list[int]
    #: The lengths that a copy of each stream would have.
    copied: list[int]
    #: The key of the longest one in main memory, and its length.
    key: int
    parked: int


class StreamCache(PromptCache):
    """The streams of all sequence ids. Those that are not in use keep what they last held."""

    spare_window_tokens = SPARE_WINDOW_TOKENS

    def __init__(
        self,
        sequences: int,
        cells: int,
        *,
        can_share: bool = True,
        most_parked_tokens: int = 0,
        window_tokens: int | None = None,
    ) -> None:
        """Create an empty cache of `cells` tokens over all streams; each must have room for the longest sequence."""
        super().__init__(cells, can_share=can_share, most_parked_tokens=most_parked_tokens, window_tokens=window_tokens)
        self._streams = [_Stream() for _ in range(sequences)]
        self._steps_with_gaps = 0
        self._clock = 0

    @property
    def used_cells(self) -> int:
        return sum(len(stream.tokens) for stream in self._streams if stream.in_use)

    @property
    def idle_sequences(self) -> int:
        return len(self._idle)

    @property
    def _idle(self) -> list[int]:
        return [at for at, stream in enumerate(self._streams) if not stream.in_use]

    def tokens(self, seq_id: int) -> list[int]:
        return self._streams[seq_id].tokens

    def missing_cells(self, tokens: Sequence[int]) -> int:  # noqa: ARG002 - as UnifiedCache
        """Return 0: each stream has room for a sequence of the greatest length."""
        return 0

    def has_room(self, cells: int) -> bool:  # noqa: ARG002 - as UnifiedCache
        """Return True: each stream has room for a sequence of the greatest length."""
        return True

    def acquire(self, tokens: list[int]) -> tuple[int, int]:
        reuse = min(self._ways(tokens), key=self._preference)
        self._begin(reuse)
        return reuse.target, reuse.length

    def reuse_more(self, seq_id: int, tokens: list[int], least: int) -> tuple[int, int]:
        computed = len(self.tokens(seq_id))
        copies = self._copies(self._found(tokens), seq_id)
        longer = [way for way in copies if way.length - computed >= least]
        best = min(longer, key=lambda way: way.cost, default=None)
        if best is None or best.cost >= COMPUTE_COST * (len(tokens) - computed):
            return seq_id, computed
        self._begin(best)
        return seq_id, best.length

    def will_share(self, tokens: int) -> bool:
        return self._can_share and not copied_from(tokens, self._window_tokens)

    def extend(self, seq_id: int, tokens: Sequence[int]) -> None:
        stream = self._streams[seq_id]
        stream.tokens.extend(tokens)
        if self._window_tokens is not None:
            held = self._window_tokens + self.spare_window_tokens
            stream.first = max(stream.first, len(stream.tokens) - held)

    def truncate(self, seq_id: int, length: int) -> None:
        stream = self._streams[seq_id]
        if length < len(stream.tokens):
            del stream.tokens[length:]
            stream.first = min(stream.first, length)
            self._trim(seq_id, length)

    def release(self, seq_id: int) -> None:
        if not self._can_share:
            self.truncate(seq_id, 0)
        self._streams[seq_id].in_use = False
        self._clock += 1
        self._streams[seq_id].used_at = self._clock

    def discard(self, seq_id: int) -> None:
        self.truncate(seq_id, 0)
        self.release(seq_id)

    def clear(self) -> None:
        self._streams = [_Stream() for _ in self._streams]
        self._parked.clear()
        self.operations.clear()

    def compact(self) -> dict[int, int]:
        """Close a gap between running sequences, once it has lasted for some steps."""
        used = [at for at, stream in enumerate(self._streams) if stream.in_use]
        gaps = [at for at in self._idle if used and used[0] < at < used[-1]]
        self._steps_with_gaps = self._steps_with_gaps + 1 if gaps else 0
        if self._steps_with_gaps < GAP_STEPS or not self._can_share:
            return {}
        moved = min((used[0], used[-1]), key=lambda at: len(self.tokens(at)))
        target = gaps[0]
        self._evict(target, 0)
        self._streams[target].in_use = True
        self._copy(moved, target, len(self.tokens(moved)))
        self.discard(moved)
        return {moved: target}

    # How sequences begin

    def _preference(self, way: _Reuse) -> tuple[int, int, int, int]:
        """Return a sort key: the cheapest way first, then one without gaps between running sequences."""
        used = [at for at, stream in enumerate(self._streams) if stream.in_use or at == way.target]
        gaps = used[-1] - used[0] + 1 - len(used)
        return way.cost, gaps, self._streams[way.target].used_at, way.target

    def _ways(self, tokens: list[int]) -> Iterator[_Reuse]:
        """Return the ways to begin a sequence: in each idle stream, with what it holds or with a copy."""
        found = self._found(tokens)
        for target in self._idle:
            kept, held = found.in_streams[target], len(self.tokens(target))
            evicting = held if kept < held else 0
            yield _Reuse(target, kept, evicting + COMPUTE_COST * (len(tokens) - kept))
            yield from self._copies(found, target)

    def _copies(self, found: _Found, target: int) -> Iterator[_Reuse]:
        """Return the ways that copy a prefix to the stream `target`, from another stream and from main memory."""
        evicting = 0 if self._streams[target].in_use else len(self.tokens(target))
        source = max(range(len(found.copied)), key=lambda at: (at != target, found.copied[at]))
        if source != target and (length := found.copied[source]):
            cost = evicting + 2 * len(self.tokens(source)) + COMPUTE_COST * (found.tokens - length)
            yield _Reuse(target, length, cost, source=source)
        if found.parked:
            cost = evicting + self._parked.size(found.key) + COMPUTE_COST * (found.tokens - found.parked)
            yield _Reuse(target, found.parked, cost, key=found.key)

    def _found(self, tokens: list[int]) -> _Found:
        """Return how many of `tokens` are in the streams and in main memory."""
        most = len(tokens) - 1  # the logits of the last one are needed
        nothing = [0] * len(self._streams)
        if not self._can_share:
            return _Found(len(tokens), nothing, nothing, 0, 0)
        common = [min(common_prefix(stream.tokens, tokens), most) for stream in self._streams]
        pairs = list(zip(self._streams, common, strict=True))
        window = self._window_tokens
        kept = [reusable_prefix(stream.first, length, window) for stream, length in pairs]
        copied = [reusable_prefix(copied_from(len(stream.tokens), window), length, window) for stream, length in pairs]
        return _Found(len(tokens), kept, copied, *self._parked.longest_prefix(tokens))

    def _begin(self, way: _Reuse) -> None:
        stream = self._streams[way.target]
        if stream.in_use:
            self.truncate(way.target, 0)
        else:
            self._evict(way.target, way.kept, keep=way.key)
        stream.in_use = True
        if way.source is not None:
            self._copy(way.source, way.target, way.length)
        elif way.key is not None:
            self.extend(way.target, self._parked.use(way.key)[: way.length])
            stream.first = copied_from(self._parked.size(way.key), self._window_tokens)
            self.operations.append(Unpark(way.key, way.target, way.length))

    def _copy(self, source: int, target: int, length: int) -> None:
        self.extend(target, self.tokens(source)[:length])
        self._streams[target].first = copied_from(len(self.tokens(source)), self._window_tokens)
        self.operations.append(Copy(source, target, length))

    def _evict(self, seq_id: int, kept: int, keep: int | None = None) -> None:
        """Park what an idle stream holds, unless all of it is kept, and remove what is not kept."""
        if kept < len(self.tokens(seq_id)):
            self.operations += self._parked.park(seq_id, self.tokens(seq_id), keep=keep)
            self.truncate(seq_id, kept)
