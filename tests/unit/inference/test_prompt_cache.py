"""The prompt cache: prefixes are right, shared cells count once, the least recently used goes first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.engine.cache_operations import apply_operations
from inference.engine.prompt_cache import Copy, Forget, Park, PromptCache, Trim, Unpark, common_prefix
from tests.fakes.fake_backend import FakeBackend

SEQUENCES, CELLS, PARKED_TOKENS = 4, 120, 100
prompts = st.lists(st.integers(0, 1), min_size=1, max_size=40)


class CacheMachine(RuleBasedStateMachine):
    """Compares the prompt cache's records with a fake KV cache that applies its operations."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = PromptCache(SEQUENCES, CELLS, most_parked_tokens=PARKED_TOKENS)
        self.backend = FakeBackend(sequences=SEQUENCES, cells=CELLS)
        self.in_use: set[int] = set()

    def apply(self) -> None:
        assert not apply_operations(self.cache.take_operations(), self.backend)

    @precondition(lambda self: self.cache.idle_sequences > 0)
    @rule(tokens=prompts)
    def acquire(self, tokens: list[int]) -> None:
        running = max(common_prefix(content, tokens) for content in self.backend.content.values())
        best = max(running, *(common_prefix(one, tokens) for one in [*self.backend.parked.values(), []]))
        assert self.cache.best_prefix(tokens) == best
        has_room = self.cache.has_room(best)
        seq_id, cached = self.cache.acquire(tokens)
        self.apply()
        assert seq_id not in self.in_use
        assert cached == min(best if has_room else running, len(tokens) - 1)
        assert self.backend.content[seq_id] == tokens[:cached]
        if self.cache.has_room(len(tokens) - cached):
            self.cache.extend(seq_id, tokens[cached:])
            self.backend.content[seq_id] += tokens[cached:]
        self.in_use.add(seq_id)

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
        assert not keep or any(one[: len(tokens)] == tokens for one in [*self.backend.parked.values(), tokens[:0]])

    @precondition(lambda self: self.in_use)
    @rule(data=st.data(), count=st.integers(0, 10))
    def truncate(self, data: st.DataObject, count: int) -> None:
        seq_id = data.draw(st.sampled_from(sorted(self.in_use)))
        self.cache.truncate(seq_id, max(0, len(self.cache.tokens(seq_id)) - count))
        self.apply()

    @invariant()
    def records_match_the_kv_cache(self) -> None:
        for seq_id, content in self.backend.content.items():
            assert self.cache.tokens(seq_id) == content
            assert seq_id in self.in_use or not content
        cells = [entry.cells for entry in self.cache._entries]
        assert len(set().union(*cells)) == self.cache.used_cells
        assert all(len(entry.cells) == len(entry.tokens) for entry in self.cache._entries)
        assert sum(map(len, self.backend.parked.values())) == self.cache.parked_tokens <= PARKED_TOKENS


CacheMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCacheMachine = CacheMachine.TestCase


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
    cache = PromptCache(3, 100)
    first = fill(cache, list(range(50)))
    second, cached = cache.acquire([*range(40), 99, 98])
    assert cached == 40
    assert cache.used_cells == 50
    assert cache.take_operations() == [Copy(first, second, 40)]


def test_the_same_prompt_again_leaves_one_token_to_compute() -> None:
    cache = PromptCache(2, 100, most_parked_tokens=50)
    cache.release(fill(cache, [1, 2, 3]))
    assert cache.acquire([1, 2, 3])[1] == 2


def test_a_finished_prompt_frees_its_cells_and_is_parked() -> None:
    cache = PromptCache(1, 100, most_parked_tokens=50)
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
    cache = PromptCache(3, 100, most_parked_tokens=25)
    for start in (1, 2):
        cache.release(fill(cache, [start] * 10))
    cache.discard(cache.acquire([1] * 10)[0])
    # When a third one is parked
    cache.release(fill(cache, [3] * 10))
    # Then the one that was not used again is dropped
    assert [cache.best_prefix([start] * 10) for start in (1, 2, 3)] == [10, 0, 10]


def test_a_longer_version_of_a_conversation_replaces_the_shorter_one() -> None:
    cache = PromptCache(2, 100, most_parked_tokens=50)
    cache.release(fill(cache, [1, 2, 3]))
    cache.take_operations()
    cache.release(fill(cache, [1, 2, 3, 4, 5]))
    assert cache.parked_tokens == 5
    assert sum(isinstance(one, Forget) for one in cache.take_operations()) == 1
    cache.release(fill(cache, [1, 2, 3, 4]))
    assert cache.parked_tokens == 5


def test_a_model_that_cannot_trim_its_cache_shares_nothing() -> None:
    cache = PromptCache(2, 100, can_share=False, most_parked_tokens=50)
    cache.release(fill(cache, [1, 2, 3]))
    assert cache.acquire([1, 2, 3])[1] == 0


def test_a_parked_prompt_that_does_not_fit_is_not_reused() -> None:
    cache = PromptCache(2, 20, most_parked_tokens=50)
    cache.release(fill(cache, [1] * 10))
    fill(cache, [2] * 15)
    assert cache.acquire([1] * 10)[1] == 0
