"""Step times of models as people run them, with random weights: the engine against a bare loop.

    python -m benchmarks.large_models [--shapes 1B 7B] [--pairs N] [--tokens N]

The files are written to a temporary folder: 0.7 GB and 4 GB. The bare loop runs in its own process, in turn with the
engine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bare_loop import BareProcess
from benchmarks.decode import PROMPT_TOKENS, EngineRun, open_backend
from benchmarks.llama_server import model_path
from benchmarks.report import print_table
from core.settings import Settings, load_settings
from inference.engine.model_files import resolve_model
from tests.gguf_files import SHAPE_1B, SHAPE_7B, random_model

SHAPES = {"1B": SHAPE_1B, "7B": SHAPE_7B}
SEQUENCES = (1, 4)
TARGET = 0.95
CONTEXT_TOKENS = 1024


def prompts(count: int, seed: int) -> list[list[int]]:
    """Return prompts that have nothing in common."""
    return [
        [1000 + (seed * 7919 + number * 104729 + at * 31) % 40000 for at in range(PROMPT_TOKENS)]
        for number in range(count)
    ]


def measure(shape: str, settings: Settings, pairs: int, tokens: int) -> list[Sequence[str]]:
    """Return the rows of the table for one model."""
    engine = EngineRun(open_backend(settings), max(SEQUENCES))
    bare = BareProcess(model_path(settings), settings.inference_threads or settings.cores)
    rows = []
    for count in SEQUENCES:
        ratios, steps = [], []
        for pair in range(pairs + 1):
            bare_speed = bare.run(prompts(count, pair), tokens).decode_tokens_per_second
            speed = engine.run(prompts(count, pair), tokens)
            if pair:  # the first pair warms up
                ratios.append(speed / bare_speed)
                steps.append((count / bare_speed, count / speed))
        bare_ms, ours_ms = (1000 * statistics.median(times) for times in zip(*steps, strict=True))
        rows.append(
            (shape, str(count), f"{bare_ms:.0f}", f"{ours_ms:.0f}", f"{statistics.median(ratios):.3f}",
             f"{min(ratios):.3f} to {max(ratios):.3f}", f"{TARGET}")
        )  # fmt: skip
    engine.engine.close()
    bare.close()
    return rows


def main() -> None:
    """Write the models, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=16)
    arguments = parser.parse_args()
    starter = resolve_model(load_settings(_env_file=None)).path
    rows = []
    for shape in arguments.shapes:
        with tempfile.TemporaryDirectory() as folder:
            path = random_model(starter, Path(folder) / f"{shape}.gguf", SHAPES[shape])
            settings = load_settings(
                _env_file=None, model_path=path, inference_slots=max(SEQUENCES), context_length=CONTEXT_TOKENS
            )
            rows += measure(shape, settings, arguments.pairs, arguments.tokens)
    columns = ("model", "sequences", "bare step, ms", "engine", "ratio of speeds", "range", "target")
    print_table(f"Steps of large models, Q4_0, {arguments.pairs} pairs", columns, rows)


if __name__ == "__main__":
    main()
