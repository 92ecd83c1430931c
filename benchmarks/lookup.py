"""Prompt lookup decoding: its gain where an answer quotes its prompt, and its cost where it does not.

    python -m benchmarks.lookup [--rounds N]

Runs one sequence at a time, greedy, each prompt with and without lookup in turn; the prompt itself is cached by then.
The answers must be the same, or first differ where the two best tokens are about equally likely, since the shape of a
batch changes logits slightly.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Sequence

from msgspec.structs import replace

from benchmarks.decode import open_backend
from benchmarks.prompts import Listener
from benchmarks.report import print_table
from core.messages import ChatMessage, SamplingParams
from core.settings import load_settings
from inference.engine.engine import Engine
from inference.engine.llama_backend import LlamaBackend
from inference.engine.sequence import SequenceRequest

TOKENS = 96
QUOTING_TARGET, OTHER_TARGET = 1.25, 0.97
#: Greatest difference between the two best logits at the first token where answers may differ.
MARGIN = 0.5
GREEDY = SamplingParams(temperature=0, ignore_eos=True)
PASSAGES = (
    "The harbour of Port Ellen was rebuilt in 1834 by the engineer Samuel Hughes, who used granite from the quarry at "
    "Kildalton and oak from the forests of the mainland. The work took eleven years, cost forty thousand pounds, and "
    "employed three hundred men from the villages along the coast, who slept in tents beside the road in summer.",
    "To clean the pump, switch the machine off and let it cool for half an hour. Remove the water tank, turn the grey "
    "lever to the left and pull the pump out of its seat. Rinse it under warm water without soap, dry it with a soft "
    "cloth, put it back, turn the lever to the right and fill the tank with fresh water before the next use.",
    "The contract may be ended by either party with notice of three months to the end of a quarter. Notice must be "
    "given in writing and signed by hand. Payments that are due before the end of the contract remain due, and the "
    "keys, the documents and all copies of them must be returned to the owner within fourteen days.",
)
QUESTIONS = (
    "Write a short story about a fisherman and his daughter.",
    "Explain how a bicycle stays upright.",
    "What should I see in a large city that I do not know?",
)
_numbers = itertools.count()


def quoting_prompt(backend: LlamaBackend, engine: Engine, passage: str) -> list[int]:
    """Return a prompt whose answer is the passage, with the first words of the answer."""
    opening = " ".join(passage.split()[:6])
    question = f"Repeat this text word by word.\n\n{passage}\n\n{passage}"
    prepared = engine.prepare([ChatMessage("user", question)])
    return [*prepared.token_ids, *backend.tokenize(opening, special=False)]


def other_prompt(engine: Engine, question: str) -> list[int]:
    """Return a prompt that its answer does not quote."""
    return engine.prepare([ChatMessage("user", question)]).token_ids


class Answer:
    """One answer: its tokens, and its tokens per second after the first delta."""

    def __init__(
        self, engine: Engine, listener: Listener, prompt: list[int], *, lookup: bool, sampling: SamplingParams = GREEDY
    ) -> None:
        name = f"lookup-{next(_numbers)}"
        request = SequenceRequest(
            sequence_id=name, prompt_token_ids=prompt, sampling=sampling, max_tokens=TOKENS, prompt_lookup=lookup
        )
        engine.submit(request)
        listener.wait_for_end([name])
        self.deltas = listener.deltas[name]
        self.tokens = [token for delta in self.deltas for token in delta.token_ids]
        times = listener.times[name]
        self.speed = (len(self.tokens) - len(self.deltas[0].token_ids)) / (times[-1] - times[0])


def margin(engine: Engine, listener: Listener, prompt: list[int], one: list[int], two: list[int]) -> float:
    """Return the difference between the two best logits where two answers first differ, or 0 if they do not."""
    at = next((at for at, (a, b) in enumerate(zip(one, two, strict=True)) if a != b), None)
    if at is None:
        return 0.0
    answer = Answer(engine, listener, prompt, lookup=False, sampling=replace(GREEDY, logprobs=True, top_logprobs=2))
    best, second = [entry for delta in answer.deltas for entry in delta.logprobs][at].top[:2]
    return best[1] - second[1]


def compare(
    engine: Engine, listener: Listener, prompts: Sequence[list[int]], rounds: int
) -> tuple[list[float], list[float]]:
    """Return the ratios of the speeds with and without lookup, and the margins of the answers that differ."""
    ratios, margins = [], []
    for prompt in prompts:
        Answer(engine, listener, prompt, lookup=False)
        for _ in range(rounds):
            plain, drafted = (Answer(engine, listener, prompt, lookup=lookup) for lookup in (False, True))
            ratios.append(drafted.speed / plain.speed)
            if plain.tokens != drafted.tokens:
                margins.append(margin(engine, listener, prompt, plain.tokens, drafted.tokens))
    return ratios, margins


def main() -> None:
    """Run both kinds of prompts and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    listener = Listener()
    backend = open_backend(load_settings())
    engine = Engine(backend, slots=1, default_max_tokens=256, sink=listener)
    engine.start()
    rows = []
    for name, target, prompts in (
        ("quotes its prompt", QUOTING_TARGET, [quoting_prompt(backend, engine, passage) for passage in PASSAGES]),
        ("quotes nothing", OTHER_TARGET, [other_prompt(engine, question) for question in QUESTIONS]),
    ):
        ratios, margins = compare(engine, listener, prompts, rounds)
        rows.append(
            (name, f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}", f"{target}",
             f"{len(margins)} of {len(ratios)}", f"{max(margins, default=0):.2f}")
        )  # fmt: skip
    engine.close()
    columns = (
        "the answer",
        "speed with / without (median)",
        "range",
        "target",
        "texts that differ",
        f"their margin (≤ {MARGIN})",
    )
    print_table(f"Prompt lookup, {TOKENS} tokens", columns, rows)


if __name__ == "__main__":
    main()
