"""The prompt cache: prefixes are right, shared cells count once, the least recently used goes first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.prompt_cache import Copy, PromptCache, Trim, common_prefix

SEQUENCES, CELLS = 4, 120
prompts = st.lists(st.integers(0, 1), min_size=1, max_size=40)


class CacheMachine(RuleBasedStateMachine):
    """Compares the books with a KV cache that does what the operations say."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = PromptCache(SEQUENCES, CELLS)
        self.content: dict[int, list[int]] = {at: [] for at in range(SEQUENCES)}
        self.in_use: dict[int, list[int]] = {}

    def apply(self) -> None:
        for operation in self.cache.take_operations():
            if isinstance(operation, Trim):
                del self.content[operation.seq_id][operation.length :]
            else:
                assert isinstance(operation, Copy)
                assert not self.content[operation.target]
                self.content[operation.target] = self.content[operation.source][: operation.length]

    @precondition(lambda self: self.cache.idle_sequences > 0)
    @rule(tokens=prompts)
    def acquire(self, tokens: list[int]) -> None:
        best = max(common_prefix(self.cache.tokens(at), tokens) for at in range(SEQUENCES))
        seq_id, cached = self.cache.acquire(tokens)
        self.apply()
        assert seq_id not in self.in_use
        assert cached == min(best, len(tokens) - 1)
        assert self.content[seq_id] == tokens[:cached]
        if self.cache.make_room(len(tokens) - cached):
            self.apply()
            self.cache.extend(seq_id, tokens[cached:])
            self.content[seq_id] += tokens[cached:]
        self.in_use[seq_id] = self.content[seq_id]

    @precondition(lambda self: self.in_use)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        seq_id = data.draw(st.sampled_from(sorted(self.in_use)))
        del self.in_use[seq_id]
        self.cache.release(seq_id)

    @precondition(lambda self: self.in_use)
    @rule(data=st.data(), count=st.integers(0, 10))
    def truncate(self, data: st.DataObject, count: int) -> None:
        seq_id = data.draw(st.sampled_from(sorted(self.in_use)))
        self.cache.truncate(seq_id, max(0, len(self.cache.tokens(seq_id)) - count))
        self.apply()

    @rule(cells=st.integers(0, CELLS))
    def make_room(self, cells: int) -> None:
        possible = self.cache.can_make_room(cells)
        assert self.cache.make_room(cells) == possible
        self.apply()
        assert not possible or self.cache.free_cells >= cells

    @invariant()
    def books_are_right(self) -> None:
        for seq_id, content in self.content.items():
            assert self.cache.tokens(seq_id) == content
        cells = [entry.cells for entry in self.cache._entries]
        assert len(set().union(*cells)) == self.cache.used_cells
        assert all(len(entry.cells) == len(entry.tokens) for entry in self.cache._entries)


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
    cache = PromptCache(2, 100)
    cache.release(fill(cache, [1, 2, 3]))
    assert cache.acquire([1, 2, 3])[1] == 2


def test_the_least_recently_used_prompt_makes_room() -> None:
    cache = PromptCache(3, 30)
    old, new = fill(cache, [1] * 10), fill(cache, [2] * 10)
    cache.release(new)
    cache.release(old)
    assert cache.make_room(15)
    assert (len(cache.tokens(old)), len(cache.tokens(new))) == (10, 0)


def test_a_model_that_cannot_cut_its_cache_shares_nothing() -> None:
    cache = PromptCache(2, 100, can_share=False)
    cache.release(fill(cache, [1, 2, 3]))
    assert cache.acquire([1, 2, 3])[1] == 0


def test_cached_prompts_are_bounded() -> None:
    cache = PromptCache(4, 100, most_idle_cells=25)
    ids = [fill(cache, [at] * 10) for at in range(3)]
    for seq_id in ids:
        cache.release(seq_id)
    assert [len(cache.tokens(seq_id)) for seq_id in ids] == [0, 10, 10]
