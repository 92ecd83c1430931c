"""The embedding threads: order, micro-batches, priority, errors and their end."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.bulk_work import BulkWork
from core.errors import Unavailable
from core.settings import load_settings
from ingest.embedding import embedding_threads, micro_batches
from ingest.embedding.embedding_threads import TRIM_TOKENS
from ingest.embedding.micro_batches import (
    MAX_PASSED,
    MICRO_BATCH_TEXTS,
    MICRO_BATCH_TOKENS,
    SHORT_TOKENS,
    SMALL_BATCH_TOKENS,
)
from ingest.embedding.prompts import Purpose
from ingest.embedding.service import EmbeddingService
from tests.fakes.fake_embedder import FakeEmbedder, Vectors
from tests.support import wait_until


class World:
    """A service whose model can be blocked, and callers in threads."""

    def __init__(self) -> None:
        self.model = FakeEmbedder()
        self.service = EmbeddingService(self.model)
        self._callers = ThreadPoolExecutor(40)

    def ask(self, *texts: str, **options: Any) -> Future[Any]:
        """Embed texts in a thread, and return once the request is in the queue."""
        before = self.waiting
        answer = self._callers.submit(self.service.embed, texts, **options)
        wait_until(lambda: answer.done() or self.waiting > before)
        return answer

    def block(self) -> Future[Any]:
        """Keep the model busy until `unblock`."""
        self.model.proceed.clear()
        answer = self._callers.submit(self.service.embed, ["first"])
        assert self.model.entered.wait(20)
        return answer

    def unblock(self) -> None:
        self.model.proceed.set()

    @property
    def waiting(self) -> int:
        return sum(len(thread._waiting) for thread in (self.service._interactive, self.service._bulk))

    def close(self) -> None:
        self.unblock()
        self.service.close()
        self._callers.shutdown()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def test_vectors_come_in_the_order_of_the_texts(world: World) -> None:
    texts = [f"text {n}" for n in range(2 * MICRO_BATCH_TEXTS + 5)]
    vectors = world.service.embed(texts)
    np.testing.assert_array_equal(vectors, np.stack([world.model.vector(text) for text in texts]))
    assert vectors.dtype == np.float32
    assert [len(batch) for batch in world.model.batches] == [MICRO_BATCH_TEXTS, MICRO_BATCH_TEXTS, 5]


def test_no_texts_are_no_work(world: World) -> None:
    assert world.service.embed([]).shape == (0, FakeEmbedder.dimension)
    assert world.model.batches == []


def test_the_thread_that_embeds_gets_only_the_part_of_a_text_that_the_model_reads(world: World) -> None:
    world.service.embed([" ".join(["word"] * 5000)])
    assert [len(text.split()) for text in world.model.batches[0]] == [2 * FakeEmbedder.max_tokens]


def test_few_tokens_are_computed_on_one_core_and_many_on_all() -> None:
    model = FakeEmbedder()
    service = EmbeddingService(model, cores=4)
    service.embed(["a short question"])
    service.embed([" ".join(["word"] * 200)])
    service.compute(lambda: None)
    service.close()
    assert model.cores == [1, 4, 4]


def test_callers_share_a_micro_batch_if_their_purpose_is_the_same(world: World) -> None:
    first = world.block()
    answers = [world.ask(name, purpose="query") for name in "abc"] + [world.ask("d", purpose="document")]
    world.unblock()
    assert all(answer.result(20).shape == (1, FakeEmbedder.dimension) for answer in [first, *answers])
    assert world.model.batches == [["first"], ["a", "b", "c"], ["d"]]
    assert world.model.purposes == ["plain", "query", "document"]


def test_where_two_wait_the_next_one_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_threads, "GATHER_GAP_SECONDS", 20.0)
    monkeypatch.setattr(embedding_threads, "GATHER_MAX_SECONDS", 20.0)
    monkeypatch.setattr(embedding_threads, "MICRO_BATCH_TEXTS", 3)
    first = world.block()
    answers = [world.ask("a"), world.ask("b")]
    world.unblock()
    first.result(20)
    answers.append(world.ask("c"))
    for answer in answers:
        answer.result(60)
    assert world.model.batches == [["first"], ["a", "b", "c"]]


def test_who_is_alone_waits_for_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_threads, "GATHER_GAP_SECONDS", 20.0)
    monkeypatch.setattr(embedding_threads, "GATHER_MAX_SECONDS", 20.0)
    world.ask("a").result(60)
    assert world.model.batches == [["a"]]


def test_a_search_does_not_wait_for_bulk_work(world: World) -> None:
    world.model.held = "bulk"
    world.model.proceed.clear()
    bulk = world.ask(*(f"bulk {n:03}" for n in range(3 * MICRO_BATCH_TEXTS)), priority="bulk")
    wait_until(lambda: len(world.model.batches) == 1)
    assert world.ask("search", purpose="query").result(20).shape == (1, FakeEmbedder.dimension)
    assert not bulk.done()
    world.model.held = ""
    world.unblock()
    assert bulk.result(20).shape == (3 * MICRO_BATCH_TEXTS, FakeEmbedder.dimension)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a nice value for each thread")
def test_bulk_work_and_the_threads_that_it_starts_have_a_low_priority(tmp_path: Path) -> None:
    nice: dict[str, int] = {}

    class Observed(FakeEmbedder):
        def encode(self, texts: Sequence[str], purpose: Purpose = "plain") -> Vectors:
            with ThreadPoolExecutor(1) as started:
                nice[texts[0]] = started.submit(os.getpriority, os.PRIO_PROCESS, 0).result()
            return super().encode(texts, purpose)

    service = EmbeddingService(Observed(), bulk=BulkWork(load_settings(_env_file=None, data_dir=tmp_path, bulk_nice=5)))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    service.embed(["bulk"], priority="bulk")
    service.embed(["search"])
    service.close()
    assert nice == {"bulk": min(own + 5, 19), "search": own}


def test_a_short_request_passes_long_ones_that_came_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batches, "SMALL_BATCH_SECONDS", 1000.0)
    first = world.block()
    long = [world.ask(f"long{n} " * 200) for n in range(SMALL_BATCH_TOKENS // 200 + 3)]
    short = world.ask("short")
    world.unblock()
    for answer in (first, *long, short):
        answer.result(20)
    assert world.model.batches[1] == ["short"], "its vector waits for no long text of the same micro-batch"
    sizes = [len(batch) for batch in world.model.batches[2:]]
    assert sum(sizes) == len(long) and len(sizes) == 2


def test_a_small_request_passes_a_large_one_of_its_class(world: World) -> None:
    first = world.block()
    large = world.ask(*(f"large {n:03}" for n in range(3 * MICRO_BATCH_TEXTS)))
    small = world.ask(*["small"] * (1 + SHORT_TOKENS // 3))
    world.unblock()
    for answer in (first, large, small):
        answer.result(20)
    assert [batch[0] for batch in world.model.batches] == [
        "first",
        "large 000",
        "small",
        # The small request has taken a share of the large one's second micro-batch.
        f"large {2 * MICRO_BATCH_TEXTS - 1 - SHORT_TOKENS // 3:03}",
        f"large {3 * MICRO_BATCH_TEXTS - 1 - SHORT_TOKENS // 3:03}",
    ]


def test_long_requests_go_on_under_constant_load_of_short_ones(world: World) -> None:
    first = world.block()
    long = world.ask("long " * 200)
    load = [world.ask(*[f"load {n}"] * (SHORT_TOKENS // 4), purpose="query" if n % 2 else "plain") for n in range(20)]
    world.unblock()
    for answer in (first, long, *load):
        answer.result(20)
    order = [batch[0] for batch in world.model.batches]
    assert order.index("long " * 200) <= MAX_PASSED + 1


@pytest.mark.parametrize(("seconds", "tokens"), [(1000.0, SMALL_BATCH_TOKENS), (0.0, MICRO_BATCH_TOKENS)])
def test_a_micro_batch_is_bounded_by_its_tokens_with_padding(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: float, tokens: int
) -> None:
    monkeypatch.setattr(micro_batches, "SMALL_BATCH_SECONDS", seconds)
    first = world.block()
    long = "long " * FakeEmbedder.max_tokens
    longer = long + "and more that the model does not read " * 1000
    mixed = world.ask("a", long, "bb", longer, *["c"] * 40)
    world.unblock()
    first.result(20)
    vectors = mixed.result(20)
    np.testing.assert_array_equal(vectors[2], world.model.vector("bb"))
    np.testing.assert_array_equal(vectors[1], world.model.vector(long))
    sizes = [len(batch) for batch in world.model.batches[1:]]
    assert sizes[0] == tokens // (FakeEmbedder.max_tokens + 2)
    assert sum(sizes) == 44 and len(sizes) == 2
    assert world.model.batches[1][:4] == [long, world.model.part_read(longer)[0], "a", "bb"]


def test_an_error_reaches_the_one_who_caused_it(world: World) -> None:
    first = world.block()
    good, bad = world.ask("good"), world.ask("poison")
    world.unblock()
    first.result(20)
    np.testing.assert_array_equal(good.result(20)[0], world.model.vector("good"))
    with pytest.raises(ValueError, match="poisoned"):
        bad.result(20)
    assert world.service.embed(["after"]).shape == (1, FakeEmbedder.dimension)


def test_an_error_ends_a_request_of_several_micro_batches(world: World) -> None:
    with pytest.raises(ValueError, match="poisoned"):
        world.service.embed(["poison", *["text"] * 100])
    assert world.service.embed(["after"]).shape == (1, FakeEmbedder.dimension)
    assert len(world.model.batches) == 2


def test_closing_answers_those_who_wait(world: World) -> None:
    first = world.block()
    waiting = [world.ask("a"), world.ask(*["b"] * 2 * MICRO_BATCH_TEXTS, priority="bulk")]
    closing = threading.Thread(target=world.service.close)
    closing.start()
    wait_until(lambda: world.service._interactive._closed)
    world.unblock()
    closing.join(20)
    first.result(20)
    for answer in waiting:
        with pytest.raises(Unavailable, match="shutting down"):
            answer.result(20)
    with pytest.raises(Unavailable, match="shutting down"):
        world.service.embed(["late"])


def test_memory_is_trimmed_after_much_work_and_when_there_is_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[int] = []
    computed = world.model.batches
    monkeypatch.setattr(embedding_threads, "trim_memory", lambda: moments.append(sum(map(len, computed))))
    monkeypatch.setattr(embedding_threads, "TRIM_IDLE_SECONDS", 0.01)
    text, tokens = "word " * 100, 102
    world.service.embed([text])
    world.service.compute(lambda: None)
    assert not moments, "a query pays for no more than itself"
    world.service.embed([text] * (TRIM_TOKENS // tokens + 1), priority="bulk")
    world.service.embed([text] * (MICRO_BATCH_TOKENS // tokens), priority="bulk")
    everything = sum(map(len, computed))
    wait_until(lambda: bool(moments) and moments[-1] == everything)
    assert len(moments) == 2 and moments[0] * tokens >= TRIM_TOKENS
    world.service.embed([text])
