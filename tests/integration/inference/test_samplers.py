"""Samplers choose the tokens that llama.cpp's chain chooses from all tokens, whatever they look at themselves."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from core.messages import SamplingParams
from inference.engine.llama_backend.sampler import RandomSampler, create_chain, create_sampler
from inference.engine.llama_backend.step_rows import StepRows, apply_mask

END = 2
#: A vocabulary as that of current models.
LARGE = 152_000


class Model:
    """Logits of a step as those of a loaded model."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self.rows = rows.copy()
        self.vocab_size = rows.shape[1]
        self.end_tokens = frozenset({END})
        self.model: Any = SimpleNamespace(context_length=4096)
        self.step_rows = StepRows()
        self.step_rows.begin(self.rows)

    def logits(self, row: int) -> NDArray[np.float32]:
        return self.rows[row]

    def line(self, row: int) -> int:
        return row


def logits_of(random: np.random.Generator, kind: str, size: int) -> NDArray[Any]:
    """Return logits for a vocabulary: as those of a model, or such as make trouble."""
    if kind == "model":
        rank = np.arange(1, size + 1)
        fall = np.log(rank) * (1 + 0.35 * rank / size)
        return random.permutation(20 - random.uniform(1.2, 2.9) * fall)
    if kind == "ties":
        return random.integers(-5, 8, size) * random.choice([0.25, 0.5, 1.0, 2.0])
    if kind == "equal":
        return np.full(size, random.normal())
    if kind == "certain":
        logits = random.normal(0, 1, size)
        logits[random.integers(size)] = 30
        return logits
    return random.normal(0, random.uniform(0.5, 6), size)


def any_sampling(random: np.random.Generator) -> SamplingParams:
    biased = random.integers(0, 40, 3) if random.random() < 0.3 else []
    return SamplingParams(
        temperature=float(random.choice([0.05, 0.2, 0.7, 1, 1.3, 2])),
        top_k=int(random.choice([0, 0, 1, 5, 40, 200])),
        top_p=float(random.choice([1, 1, 0.95, 0.9, 0.5, 0.01])),
        min_p=float(random.choice([0, 0, 0.05, 0.3, 1])),
        repeat_penalty=float(random.choice([1, 1, 1.1])),
        frequency_penalty=float(random.choice([0, 0, 0.5, -0.5])),
        presence_penalty=float(random.choice([0, 0, 0.7])),
        logit_bias={int(token): float(random.normal(0, 5)) for token in biased},
        ignore_eos=bool(random.random() < 0.2),
    )


def any_mask(random: np.random.Generator, size: int) -> bytes | None:
    if random.random() < 0.6:
        return None
    bits = random.random(-(-size // 8) * 8) < random.choice([0.01, 0.5, 0.99])
    bits[1] = True
    return np.packbits(bits, bitorder="little").tobytes()


def by_chain(
    model: Model, sampling: SamplingParams, seed: int, prompt: Sequence[int], masks: Sequence[bytes | None] = ()
) -> list[int]:
    """Return what llama.cpp's chain chooses at each row, one after the other."""
    chain = create_chain(model, sampling, seed, prompt, [])
    tokens = []
    for row, original in enumerate(model.rows):
        logits = original.copy()
        if masks and (mask := masks[row]) is not None:
            apply_mask(logits, mask)
        tokens.append(chain.choose(logits))
        chain.accept(tokens[-1])
    chain.close()
    return tokens


@pytest.mark.parametrize("kind", ["model", "ties", "equal", "certain", "normal"])
@pytest.mark.parametrize(("size", "cases"), [(40, 100), (300, 100), (5000, 40), (LARGE, 3)])
def test_a_sampler_chooses_what_the_chain_chooses(kind: str, size: int, cases: int) -> None:
    random = np.random.default_rng([size, *kind.encode()])
    for _ in range(cases):
        sampling, seed = any_sampling(random), int(random.integers(2**32 - 1))
        prompt = [int(token) for token in random.integers(0, size, 80)]
        model = Model(np.stack([logits_of(random, kind, size) for _ in range(3)]).astype(np.float32))
        masks = [any_mask(random, size) for _ in range(3)]
        expected = by_chain(model, sampling, seed, prompt, masks)
        sampler = create_sampler(model, sampling, seed, prompt, [])
        tokens = []
        for row, mask in enumerate(masks):
            sampler.expect(range(row, row + 1), mask)
            tokens.append(sampler.sample(row))
        assert tokens == expected, (sampling, seed)


@pytest.mark.parametrize(("size", "rows"), [(700, 5), (LARGE, 8)])
def test_rows_that_are_computed_at_once_are_independent(size: int, rows: int) -> None:
    # Given sequences with different parameters, some with grammars, in one step
    random = np.random.default_rng(size)
    model = Model(np.stack([logits_of(random, "model", size) for _ in range(rows)]).astype(np.float32))
    original = model.rows.copy()
    parameters = [any_sampling(random) for _ in range(rows - 1)] + [SamplingParams(temperature=0)]
    masks = [any_mask(random, size) for _ in range(rows)]
    prompt = [int(token) for token in random.integers(0, size, 80)]
    # When all are announced before the first is sampled
    samplers = [create_sampler(model, sampling, 7, prompt, []) for sampling in parameters]
    for row, (sampler, mask) in enumerate(zip(samplers, masks, strict=True)):
        sampler.expect(range(row, row + 1), mask)
    tokens = [sampler.sample(row) for row, sampler in enumerate(samplers)]
    # Then each gets what it gets alone, and of the logits only those that a grammar rules out are changed
    for row, (sampling, mask) in enumerate(zip(parameters, masks, strict=True)):
        alone = Model(original[row : row + 1])
        assert [tokens[row]] == by_chain(alone, sampling, 7, prompt, [mask])
        if mask is not None:
            apply_mask(original[row], mask)
    assert (model.rows == original).all()


def test_the_rows_of_a_draft_are_sampled_one_after_the_other() -> None:
    random = np.random.default_rng(3)
    rows = np.stack([logits_of(random, "model", 900) for _ in range(6)]).astype(np.float32)
    for sampling in (SamplingParams(temperature=1), SamplingParams(temperature=1, presence_penalty=2, top_k=20)):
        model = Model(rows)
        sampler = create_sampler(model, sampling, 5, [1, 2, 3], [])
        sampler.expect(range(6))
        assert [sampler.sample(row) for row in range(6)] == by_chain(model, sampling, 5, [1, 2, 3])


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(temperature=1),
        SamplingParams(temperature=0, repeat_penalty=1.3),
        SamplingParams(temperature=0.8, top_k=40, repeat_penalty=1.2, frequency_penalty=0.4),
        SamplingParams(temperature=1, typical_p=0.6),
    ],
)
def test_a_resumed_sampler_goes_on_as_if_it_had_not_stopped(sampling: SamplingParams) -> None:
    random = np.random.default_rng(4)
    model = Model(np.stack([logits_of(random, "normal", 500) for _ in range(20)]).astype(np.float32))
    whole = create_sampler(model, sampling, 11, [4, 5], [])
    tokens = [whole.sample(row) for row in range(20)]
    for stopped_after in (1, 7, 19):
        resumed = create_sampler(model, sampling, 11, [4, 5], tokens[:stopped_after])
        assert [resumed.sample(row) for row in range(stopped_after, 20)] == tokens[stopped_after:]
        resumed.close()
    whole.close()


@pytest.mark.parametrize("typical_p", [1.0, 0.9])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_token_that_comes_instead_counts_in_place_of_the_chosen_one(temperature: float, typical_p: float) -> None:
    sampling = SamplingParams(temperature=temperature, typical_p=typical_p, frequency_penalty=2, repeat_penalty=1.5)
    random = np.random.default_rng(6)
    model = Model(np.stack([logits_of(random, "normal", 100) for _ in range(20)]).astype(np.float32))
    sampler = create_sampler(model, sampling, 3, [9], [])
    tokens = []
    for row in range(10):
        sampler.sample(row)
        sampler.remember(50 + row)
        tokens.append(50 + row)
    other = create_sampler(model, sampling, 3, [9], tokens)
    for row in range(10, 20):
        assert sampler.sample(row) == other.sample(row)
    for one in (sampler, other):
        one.close()


@pytest.mark.parametrize(
    ("sampling", "most"),
    [
        (SamplingParams(), 0.0),
        (SamplingParams(temperature=1), 0.02),
        (SamplingParams(temperature=0.8, top_k=40, top_p=0.95), 0.0),
        (SamplingParams(temperature=0.7, top_p=0.9), 0.05),
        (SamplingParams(temperature=1, min_p=0.05), 0.0),
    ],
)
def test_few_tokens_are_left_to_the_chain(sampling: SamplingParams, most: float) -> None:
    random = np.random.default_rng(8)
    model = Model(np.stack([logits_of(random, "model", 30_000) for _ in range(100)]).astype(np.float32))
    sampler = create_sampler(model, sampling, 12, [], [])
    assert isinstance(sampler, RandomSampler)
    for row in range(100):
        sampler.sample(row)
    assert sampler.undecided <= 100 * most


def test_no_token_is_lost_if_all_logits_but_one_are_ruled_out() -> None:
    model = Model(np.zeros((1, 300), np.float32))
    mask = bytearray(38)
    mask[20] = 1 << 3
    for sampling in (SamplingParams(temperature=1), SamplingParams(temperature=1, top_p=0.5, top_k=3)):
        sampler = create_sampler(model, msgspec.structs.replace(sampling, logit_bias={5: 100.0}), 1, [], [])
        sampler.expect(range(1), bytes(mask))
        assert sampler.sample(0) == 163
