"""The prompt caches: prefixes are right, shared cells count once, the least recently used goes first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.engine.cache_operations import Copy, Forget, Park, Trim, Unpark, apply_operations
from inference.engine.parked_prompts import common_prefix
from inference.engine.prompt_cache import PromptCache
from inference.engine.stream_cache import StreamCache
from inference.engine.unified_cache import UnifiedCache
from tests.fakes.fake_backend import FakeBackend

SEQUENCES, CELLS, PARKED_TOKENS = 4, 160, 100
#: Tokens of a sliding window, and those that a stream holds beyond it.
WINDOW, SPARE = 8, 4
prompts = st.lists(st.integers(0, 1), min_size=1, max_size=40)


class CacheMachine(RuleBasedStateMachine):
    """Compares a prompt cache's records with a fake KV cache that applies its operations."""

    cache: PromptCache
    window_tokens: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.backend = FakeBackend(
            sequences=SEQUENCES, cells=CELLS, window_tokens=self.window_tokens, spare_window_tokens=SPARE
        )
        self.in_use: set[int] = set()

    def apply(self) -> None:
        assert not apply_operations(self.cache.take_operations(), self.backend)

    def longest(self, tokens: list[int]) -> int:
        """Return how many of the tokens are anywhere, without the last one, which is always computed."""
        known = [*self.backend.content.values(), *self.backend.parked.values()]
        return min(max(common_prefix(one, tokens) for one in known), len(tokens) - 1)

    @precondition(lambda self: self.cache.idle_sequences > 0)
    @rule(tokens=prompts)
    def acquire(self, tokens: list[int]) -> None:
        longest = self.longest(tokens)
        seq_id, cached = self.cache.acquire(tokens)
        self.apply()
        assert seq_id not in self.in_use
        assert cached <= longest
        assert self.backend.content[seq_id] == tokens[:cached]
        if self.cache.has_room(len(tokens) - cached):
            self.cache.extend(seq_id, tokens[cached:])
            self.backend.content[seq_id] += tokens[cached:]
            self.backend.slide(seq_id)
        self.in_use.add(seq_id)

    @precondition(lambda self: self.in_use)
    @rule(data=st.data(), more=prompts, least=st.integers(1, 5))
    def reuse_more(self, data: st.DataObject, more: list[int], least: int) -> None:
        seq_id = data.draw(st.sampled_from(sorted(self.in_use)))
        tokens = [*self.cache.tokens(seq_id), *more]
        now, cached = self.cache.reuse_more(seq_id, tokens, least)
        self.apply()
        self.in_use.remove(seq_id)
        self.in_use.add(now)
        assert cached >= len(tokens) - len(more)
        assert self.backend.content[now] == tokens[:cached]

    @precondition(lambda self: self.in_use)
    @rule(data=st.data(), keep=st.booleans())
    def release(self, data: st.DataObject, keep: bool) -> None:
        seq_id = data.draw(st.sampled_from(sorted(self.in_use)))
        self.in_use.remove(seq_id)
        tokens = list(self.cache.tokens(seq_id))
        if keep:
            self.cache.release(seq_id)
        else:
            self.cache.discard(seq_id)
        self.apply()
        known = [*self.backend.content.values(), *self.backend.parked.values()]
        assert not keep or any(one[: len(tokens)] == tokens for one in [*known, tokens[:0]])

    @precondition(lambda self: self.in_use and self.window_tokens is None)
    @rule(data=st.data(), count=st.integers(0, 10))
    def truncate(self, data: st.DataObject, count: int) -> None:
        seq_id = data.draw(st.sampled_from(sorted(self.in_use)))
        self.cache.truncate(seq_id, max(0, len(self.cache.tokens(seq_id)) - count))
        self.apply()

    @precondition(lambda self: self.in_use)
    @rule(data=st.data())
    def park_prompt(self, data: st.DataObject) -> None:
        seq_id = data.draw(st.sampled_from(sorted(self.in_use)))
        if self.cache.parks_prompt(len(self.cache.tokens(seq_id))):
            self.cache.park_prompt(seq_id)
            self.apply()

    @rule()
    def compact(self) -> None:
        moved = self.cache.compact()
        self.apply()
        self.in_use = {moved.get(seq_id, seq_id) for seq_id in self.in_use}

    @invariant()
    def records_match_the_kv_cache(self) -> None:
        for seq_id, content in self.backend.content.items():
            assert self.cache.tokens(seq_id) == content
        assert self.cache.idle_sequences == SEQUENCES - len(self.in_use)
        assert sum(map(len, self.backend.parked.values())) == self.cache.parked_tokens <= PARKED_TOKENS


class UnifiedMachine(CacheMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cache = self.unified = UnifiedCache(
            SEQUENCES, CELLS, most_parked_tokens=PARKED_TOKENS, window_tokens=self.window_tokens
        )

    @invariant()
    def shared_cells_count_once(self) -> None:
        cells = [entry.cells for entry in self.unified._entries]
        assert len(set().union(*cells)) == self.unified.used_cells
        assert all(len(entry.cells) == len(entry.tokens) for entry in self.unified._entries)
        assert all(not tokens for at, tokens in self.backend.content.items() if at not in self.in_use)


class StreamMachine(CacheMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cache = StreamCache(SEQUENCES, CELLS, most_parked_tokens=PARKED_TOKENS, window_tokens=self.window_tokens)
        self.cache.spare_window_tokens = SPARE

    @invariant()
    def running_sequences_count(self) -> None:
        assert self.cache.used_cells == sum(len(self.backend.content[at]) for at in self.in_use)


class WindowedUnifiedMachine(UnifiedMachine):
    window_tokens = WINDOW


class WindowedStreamMachine(StreamMachine):
    window_tokens = WINDOW


for machine, examples in {
    UnifiedMachine: 50,
    StreamMachine: 50,
    WindowedUnifiedMachine: 20,
    WindowedStreamMachine: 40,
}.items():
    machine.TestCase.settings = settings(max_examples=examples, stateful_step_count=40, deadline=None)
TestUnifiedCache = UnifiedMachine.TestCase
TestStreamCache = StreamMachine.TestCase
TestWindowedUnifiedCache = WindowedUnifiedMachine.TestCase
TestWindowedStreamCache = WindowedStreamMachine.TestCase


@given(prompts, prompts)
def test_common_prefix_is_the_longest(first: list[int], second: list[int]) -> None:
    length = common_prefix(first, second)
    assert first[:length] == second[:length]
    assert length in (len(first), len(second)) or first[length] != second[length]


def fill(cache: PromptCache, tokens: list[int]) -> int:
    seq_id, cached = cache.acquire(tokens)
    cache.extend(seq_id, tokens[cached:])
    return seq_id


def test_a_running_sequence_shares_its_prefix_without_new_cells() -> None:
    cache = UnifiedCache(3, 100)
    first = fill(cache, list(range(50)))
    second, cached = cache.acquire([*range(40), 99, 98])
    assert cached == 40
    assert cache.used_cells == 50
    assert cache.take_operations() == [Copy(first, second, 40)]


def test_the_same_prompt_again_leaves_one_token_to_compute() -> None:
    cache = UnifiedCache(2, 100, most_parked_tokens=50)
    cache.release(fill(cache, [1, 2, 3]))
    assert cache.acquire([1, 2, 3])[1] == 2


def test_a_finished_prompt_frees_its_cells_and_is_parked() -> None:
    cache = UnifiedCache(1, 100, most_parked_tokens=50)
    seq_id = fill(cache, [1, 2, 3])
    cache.take_operations()
    cache.release(seq_id)
    (park, trim) = cache.take_operations()
    assert isinstance(park, Park)
    assert trim == Trim(seq_id, 0)
    assert (cache.used_cells, cache.parked_tokens) == (0, 3)
    assert cache.acquire([1, 2, 9, 9]) == (seq_id, 2)
    assert cache.take_operations() == [Unpark(park.key, seq_id, 2)]


def test_the_least_recently_used_prompt_is_forgotten_first() -> None:
    # Given two parked prompts, the older of which was used again
    cache = UnifiedCache(3, 100, most_parked_tokens=25)
    for start in (1, 2):
        cache.release(fill(cache, [start] * 10))
    cache.discard(cache.acquire([1] * 10)[0])
    # When a third one is parked
    cache.release(fill(cache, [3] * 10))
    # Then the one that was not used again is dropped
    assert [cache.acquire([start] * 11)[1] for start in (1, 2, 3)] == [10, 0, 10]


def test_a_longer_version_of_a_conversation_replaces_the_shorter_one() -> None:
    cache = UnifiedCache(2, 100, most_parked_tokens=50)
    cache.release(fill(cache, [1, 2, 3]))
    cache.take_operations()
    cache.release(fill(cache, [1, 2, 3, 4, 5]))
    assert cache.parked_tokens == 5
    assert sum(isinstance(one, Forget) for one in cache.take_operations()) == 1
    cache.release(fill(cache, [1, 2, 3, 4]))
    assert cache.parked_tokens == 5


def test_a_model_that_cannot_trim_its_cache_shares_nothing() -> None:
    cache = UnifiedCache(2, 100, can_share=False, most_parked_tokens=50)
    cache.release(fill(cache, [1, 2, 3]))
    assert cache.acquire([1, 2, 3])[1] == 0


def test_a_parked_prompt_that_does_not_fit_is_not_reused() -> None:
    cache = UnifiedCache(2, 20, most_parked_tokens=50)
    cache.release(fill(cache, [1] * 10))
    fill(cache, [2] * 15)
    assert cache.acquire([1] * 10)[1] == 0


def test_a_conversation_goes_on_in_the_stream_that_holds_it() -> None:
    cache = StreamCache(3, 300, most_parked_tokens=50)
    first, second = fill(cache, [1] * 20), fill(cache, [2] * 20)
    cache.release(first)
    cache.release(second)
    cache.take_operations()
    assert cache.acquire([2] * 20 + [3] * 5) == (second, 20)
    assert cache.take_operations() == []


def test_a_prompt_takes_an_empty_stream_before_one_that_holds_a_conversation() -> None:
    cache = StreamCache(3, 300, most_parked_tokens=50)
    cache.release(fill(cache, [1] * 20))
    assert cache.acquire([2] * 20) == (1, 0)
    assert cache.take_operations() == []


def test_a_conversation_that_loses_its_stream_is_parked_and_comes_back() -> None:
    cache = StreamCache(1, 100, most_parked_tokens=50)
    cache.release(fill(cache, [1] * 20))
    seq_id = fill(cache, [2] * 20)
    (park, trim) = cache.take_operations()
    assert isinstance(park, Park)
    assert trim == Trim(seq_id, 0)
    cache.release(seq_id)
    assert cache.acquire([1] * 20) == (seq_id, 19)
    assert Unpark(park.key, seq_id, 19) in cache.take_operations()


def test_a_prefix_of_a_running_sequence_is_copied_unless_computing_it_costs_less() -> None:
    cache = StreamCache(3, 9000, most_parked_tokens=50)
    source = fill(cache, [1] * 2000)
    assert cache.acquire([1] * 100 + [2]) == (1, 100)
    assert cache.take_operations() == [Copy(source, 1, 100)]
    assert cache.acquire([1] * 10 + [3] * 100)[1] == 0


def test_a_parked_prompt_that_is_used_is_not_dropped_for_what_it_replaces() -> None:
    # Given one stream, and room to park one prompt
    cache = StreamCache(1, 100, most_parked_tokens=20)
    cache.release(fill(cache, [1] * 20))
    cache.release(fill(cache, [2] * 20))
    cache.take_operations()
    # When the parked prompt comes back
    seq_id, cached = cache.acquire([1] * 20)
    # Then it is restored, and the other one is not parked in its place
    assert cached == 19
    assert [type(one) for one in cache.take_operations()] == [Trim, Unpark]
    assert seq_id == 0


def windowed(**options: int) -> StreamCache:
    cache = StreamCache(2, 200, window_tokens=WINDOW, most_parked_tokens=100, **options)
    cache.spare_window_tokens = SPARE
    return cache


def test_a_copy_of_a_sequence_longer_than_the_window_is_only_continued_at_its_end() -> None:
    cache = windowed()
    source = fill(cache, [1] * 20)
    assert cache.acquire([1] * 10 + [2])[1] == 0
    cache.discard(1)
    assert cache.acquire([1] * 20 + [2]) == (1, 20)
    assert cache.take_operations()[-1] == Copy(source, 1, 20)


def test_a_stream_can_be_cut_as_far_as_its_window_reaches() -> None:
    for length, kept in ((20 - SPARE, 20 - SPARE), (20 - SPARE - 1, 0)):
        cache = windowed()
        cache.release(fill(cache, [1] * 20))
        fill(cache, [3] * 5)
        assert cache.acquire([1] * length + [2])[1] == kept


def test_a_prompt_longer_than_the_window_is_parked_for_when_it_comes_again() -> None:
    # Given a prompt that was parked without its last token
    cache = windowed()
    assert cache.parks_prompt(WINDOW + 1) and not cache.parks_prompt(WINDOW)
    seq_id = fill(cache, [1] * 20)
    cache.park_prompt(seq_id)
    # When its answer has moved the window on, and it is parked too
    cache.extend(seq_id, [2] * 20)
    cache.release(seq_id)
    cache.release(fill(cache, [3] * 5))
    cache.release(fill(cache, [4] * 5))
    # Then both are there
    assert cache.acquire([1] * 21)[1] == 20
    assert cache.acquire([1] * 20 + [2] * 21)[1] == 40


def test_running_sequences_of_a_unified_cache_share_nothing_with_a_sliding_window() -> None:
    cache = UnifiedCache(2, 100, window_tokens=WINDOW, most_parked_tokens=50)
    fill(cache, [1] * 5)
    assert cache.acquire([1] * 5 + [2])[1] == 0
