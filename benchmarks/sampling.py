"""The time that sampling takes of a step, against llama.cpp's chain of samplers, one row after the other.

    python -m benchmarks.sampling [--steps N] [--vocabulary N]

The logits are synthetic, with the shape of the starter model's: from a row in which one token is nearly certain to one
in which thousands are likely. Both sides choose the same tokens, which is checked. All parameters take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import percentile, print_table
from core.messages import SamplingParams
from inference.engine.llama_backend.chain import Chain
from inference.engine.llama_backend.sampler import RandomSampler, create_chain, create_sampler
from inference.engine.llama_backend.step_rows import StepRows, apply_mask

ROWS = (1, 4, 8, 16)
#: For 16 rows.
TARGET_MS = 5.0
#: How fast the logits fall with the logarithm of the rank. With the smaller, nine tenths belong to 760 of 49,152
#: tokens, as they do for one of twenty tokens of the starter model's answers; with the larger, to two.
STEEPNESS = (1.2, 2.9)
#: The share of tokens that the grammar mask allows, as within a string.
ALLOWED = 0.9


@dataclass(frozen=True)
class Work:
    """Parameters to measure."""

    name: str
    sampling: SamplingParams
    has_mask: bool = False


WORKS = (
    Work("greedy", SamplingParams(temperature=0)),
    Work("greedy, grammar", SamplingParams(temperature=0), has_mask=True),
    Work("the defaults (temperature 0.2)", SamplingParams()),
    Work("the defaults, grammar", SamplingParams(), has_mask=True),
    Work("temperature 1", SamplingParams(temperature=1)),
    Work("temperature 1, grammar", SamplingParams(temperature=1), has_mask=True),
    Work("temperature 0.7, top_p 0.9", SamplingParams(temperature=0.7, top_p=0.9)),
    Work("temperature 0.7, top_p 0.9, grammar", SamplingParams(temperature=0.7, top_p=0.9), has_mask=True),
    Work("temperature 0.8, top_k 40, top_p 0.95, min_p 0.05", SamplingParams(0.8, 0.95, 40, 0.05)),
    Work("the same, grammar", SamplingParams(0.8, 0.95, 40, 0.05), has_mask=True),
    Work("temperature 1, min_p 0.05", SamplingParams(temperature=1, min_p=0.05)),
    Work("the defaults, presence_penalty 0.5", SamplingParams(presence_penalty=0.5)),
)


@dataclass
class Synthetic:
    """Rows of logits as those of a loaded model."""

    rows: NDArray[np.float32]
    end_tokens: frozenset[int] = frozenset()
    model: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(context_length=4096))
    step_rows: StepRows = field(default_factory=StepRows)

    @property
    def vocab_size(self) -> int:
        return self.rows.shape[1]

    def logits(self, row: int) -> NDArray[np.float32]:
        return self.rows[row]

    def line(self, row: int) -> int:
        return row


def synthetic_logits(rows: int, vocab_size: int, seed: int) -> NDArray[np.float32]:
    """Return logits of shape [rows, vocab_size], from flat to steep ones."""
    random = np.random.default_rng(seed)
    rank = np.arange(1, vocab_size + 1)
    fall = np.log(rank) * (1 + 0.35 * rank / vocab_size)
    steepness = np.linspace(*STEEPNESS, rows) if rows > 1 else [random.uniform(*STEEPNESS)]
    rows_of_logits = [random.permutation(20 - steep * fall) for steep in random.permutation(steepness)]
    return np.stack(rows_of_logits).astype(np.float32)


@dataclass
class Measured:
    ours_ms: list[float] = field(default_factory=list)
    chain_ms: list[float] = field(default_factory=list)
    #: Rows that llama.cpp's chain had to decide.
    undecided: int = 0


def measure(work: Work, model: Synthetic, rows: int, step: int, into: Measured) -> None:
    """Sample one step of so many sequences, then the same by llama.cpp's chain."""
    masks = [_mask(model.vocab_size, step * rows + row) if work.has_mask else None for row in range(rows)]
    original = model.rows
    model.rows = original[:rows].copy()
    prompt, generated = list(range(100)), list(range(1000, 1200))
    parameters = [(work.sampling, step * 1000 + row, prompt, generated) for row in range(rows)]
    samplers = [create_sampler(model, *one) for one in parameters]
    model.step_rows.begin(model.rows)
    began = time.perf_counter()
    for row, (sampler, mask) in enumerate(zip(samplers, masks, strict=True)):
        sampler.expect(range(row, row + 1), mask)
    tokens = [sampler.sample(row) for row, sampler in enumerate(samplers)]
    into.ours_ms.append((time.perf_counter() - began) * 1000)
    into.undecided += sum(sampler.undecided for sampler in samplers if isinstance(sampler, RandomSampler))
    model.rows = original[:rows].copy()
    chains = [create_chain(model, *one) for one in parameters]
    began = time.perf_counter()
    expected = [_by_chain(chain, model.rows[row], masks[row]) for row, chain in enumerate(chains)]
    into.chain_ms.append((time.perf_counter() - began) * 1000)
    for one in (*chains, *samplers):
        one.close()
    model.rows = original
    if work.sampling.temperature > 0 and tokens != expected:
        raise RuntimeError(f"{work.name}: {tokens} instead of {expected}")


def _by_chain(chain: Chain, logits: NDArray[np.float32], mask: bytes | None) -> int:
    if mask is not None:
        apply_mask(logits, mask)
    return chain.choose(logits)


def _mask(vocab_size: int, seed: int) -> bytes:
    bits = np.random.default_rng(seed).random(-(-vocab_size // 8) * 8) < ALLOWED
    return np.packbits(bits, bitorder="little").tobytes()


def main() -> None:
    """Measure all parameters in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--vocabulary", type=int, default=152_000)
    arguments = parser.parse_args()
    measured = {(work.name, rows): Measured() for work in WORKS for rows in ROWS}
    for step in range(-1, arguments.steps):
        model = Synthetic(synthetic_logits(max(ROWS), arguments.vocabulary, step + 1))
        for work in WORKS:
            for rows in ROWS:
                # The first step warms up.
                measure(work, model, rows, step + 1, measured[work.name, rows] if step >= 0 else Measured())
    print_table(
        f"Sampling, {arguments.steps} steps, a vocabulary of {arguments.vocabulary:,}",
        ("parameters", "rows", "ms per step, p50", "p95", "target", "ratio", "llama.cpp's chain, ms", "its rows"),
        [row(work, rows, measured[work.name, rows]) for work in WORKS for rows in ROWS],
    )


def row(work: Work, rows: int, measured: Measured) -> Sequence[str]:
    """Return a row of the table."""
    median = statistics.median(measured.ours_ms)
    target = (f"{TARGET_MS:g}", f"{median / TARGET_MS:.2f}") if rows == max(ROWS) else ("", "")
    undecided = 100 * measured.undecided / (rows * len(measured.ours_ms))
    return (
        work.name, str(rows), f"{median:.2f}", f"{percentile(measured.ours_ms, 0.95):.2f}", *target,
        f"{statistics.median(measured.chain_ms):.1f}", f"{undecided:.1f} %",
    )  # fmt: skip


if __name__ == "__main__":
    main()
