"""The engine's decode speed against a bare `llama_decode` loop in its best context: same model, prompts and threads.

    python -m benchmarks.decode [--pairs N] [--tokens N]

Each runs in its own process, since OpenMP slows down both when two threads of one process compute. They take turns,
since a machine's speed drifts; the ratio is the median over the pairs. Only decoding is timed, from the first token
after the prompts to the last one.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Sequence

from benchmarks.bare_loop import BareProcess
from benchmarks.llama_server import model_path
from benchmarks.report import print_table
from core.messages import SamplingParams
from core.settings import Settings, load_settings
from core.threads import run_on_temporary_thread
from inference.engine.backend import warm_up
from inference.engine.engine import Engine
from inference.engine.llama_backend import LlamaBackend, faster_starter
from inference.engine.model_files import resolve_model
from inference.engine.sequence import SequenceDelta, SequenceEvent, SequenceFinished, SequenceRequest

BATCHES = (1, 2, 4, 8, 16)
#: Small enough that 16 prompts fit into one step. If sequences started at different steps, the last steps would have
#: fewer of them.
PROMPT_TOKENS = 12
TARGET = 0.97
GREEDY = SamplingParams(temperature=0, ignore_eos=True)


class EngineRun:
    """Runs sequences through the engine, and records when their tokens came."""

    def __init__(self, backend: LlamaBackend, slots: int) -> None:
        self._times: dict[str, list[float]] = {}
        self._running = 0
        self._done = threading.Event()
        self._runs = 0
        self.engine = Engine(backend, slots=slots, default_max_tokens=256, sink=self._sink)
        self.engine.start()

    def run(self, prompts: Sequence[Sequence[int]], tokens: int) -> float:
        """Return the tokens per second over all sequences, from the step after the last prompt."""
        self._runs += 1
        self._times, self._running = {}, len(prompts)
        self._done.clear()
        for number, prompt in enumerate(prompts):
            name = f"{self._runs}/{number}"
            request = SequenceRequest(
                sequence_id=name, prompt_token_ids=list(prompt), sampling=GREEDY, max_tokens=tokens
            )
            self.engine.submit(request)
        self._done.wait()
        began = max(times[0] for times in self._times.values())
        ended = max(times[-1] for times in self._times.values())
        counted = sum(sum(moment > began for moment in times) for times in self._times.values())
        return counted / (ended - began)

    def _sink(self, events: Sequence[SequenceEvent]) -> None:
        now = time.perf_counter()
        for event in events:
            if isinstance(event, SequenceDelta):
                self._times.setdefault(event.sequence_id, []).extend([now] * len(event.token_ids))
            elif isinstance(event, SequenceFinished):
                self._running -= 1
                if not self._running:
                    self._done.set()


def open_backend(settings: Settings) -> LlamaBackend:
    """Load the model as the inference worker does, and warm it up."""
    file = resolve_model(settings)
    backend = LlamaBackend(faster_starter(file, settings.state_dir / "starter") if file.is_starter else file, settings)
    run_on_temporary_thread(lambda: warm_up(backend))
    return backend


def main() -> None:
    """Run the pairs and print a row for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=96)
    arguments = parser.parse_args()
    settings = load_settings(inference_slots=max(BATCHES), context_length=512)
    engine = EngineRun(open_backend(settings), max(BATCHES))
    bare = BareProcess(model_path(settings), settings.inference_threads or settings.cores)
    rows = []
    for size in BATCHES:
        ratios, speeds, bare_speeds = [], [], []
        for pair in range(arguments.pairs + 1):
            # Each sequence of each pair has a different prompt, so that the prompt cache has none of it.
            prompts = [
                [1000 + (pair * 7919 + number * 104729 + at * 31) % 40000 for at in range(PROMPT_TOKENS)]
                for number in range(size)
            ]
            bare_speed = bare.run(prompts, arguments.tokens).decode_tokens_per_second
            speed = engine.run(prompts, arguments.tokens)
            if pair:  # the first pair warms up
                ratios.append(speed / bare_speed)
                speeds.append(speed)
                bare_speeds.append(bare_speed)
        rows.append(
            (str(size), f"{statistics.median(bare_speeds):.0f}", f"{statistics.median(speeds):.0f}",
             f"{statistics.median(ratios):.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}", f"{TARGET}")
        )  # fmt: skip
    engine.engine.close()
    bare.close()
    columns = ("sequences", "bare tokens/s", "engine tokens/s", "ratio (median)", "range", "target")
    print_table(f"Decoding, {arguments.pairs} pairs", columns, rows)


if __name__ == "__main__":
    main()
