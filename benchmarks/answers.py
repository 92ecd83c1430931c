"""How often an answer from documents contains the right words, by the form of the prompt, and how often the check of
its sources says rightly that it is not grounded.

    python -m benchmarks.answers [--model FILE.gguf] [--forms NAME …] [--questions N] [--minutes M] [--results FILE]

It uses the real chunker, embedding model, search and engine, at temperature 0. The results are kept in a file, with
which a run that was stopped goes on; a run ends by itself after so many minutes. `--forms all` tries all forms.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.answer_forms import FORMS, Form
from benchmarks.answers_corpus import KINDS, Question, build
from benchmarks.decode import open_backend
from benchmarks.embedding_cache import MODELS, STARTER, CachedModel, models
from benchmarks.quality import chunks_of, filled
from benchmarks.report import print_table
from core.messages import Hit, SamplingParams, SearchOptions
from core.settings import load_settings
from inference.engine.engine import Engine
from inference.engine.sequence import (
    SequenceAborted,
    SequenceDelta,
    SequenceEvent,
    SequenceFailed,
    SequenceFinished,
    SequenceRequest,
)
from inference.text.grounding import grounding_of
from inference.text.sources import Source
from ingest.retrieval.retriever import Retriever

GREEDY = SamplingParams(temperature=0)
ANSWER_TOKENS = 40
SLOTS, CONTEXT_TOKENS = 16, 2048
#: Least cosine of a hit, as low as for a model that has not been measured.
THRESHOLD = 0.0
#: Chunks that are searched for; a form takes the best of them.
FOUND = 5


class Answers(dict[str, str]):
    """The answers so far, by model, form and question, in a file of one JSON object a line."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        if path.exists():
            self.update((entry["key"], entry["answer"]) for entry in map(json.loads, path.read_text().splitlines()))

    def add(self, key: str, answer: str) -> None:
        """Add an answer, in the file too."""
        self[key] = answer
        with self._path.open("a") as file:
            file.write(json.dumps({"key": key, "answer": answer}) + "\n")


@dataclass
class Writer:
    """Runs prompts through the engine, and calls `on_answer` with the id and the text of each answer."""

    engine: Engine
    on_answer: Callable[[str, str], None]
    _texts: dict[str, str] = field(default_factory=dict)
    _room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(SLOTS))

    def __call__(self, step: Sequence[SequenceEvent]) -> None:
        for event in step:
            if isinstance(event, SequenceDelta):
                self._texts[event.sequence_id] = self._texts.get(event.sequence_id, "") + event.text
            elif isinstance(event, SequenceFinished):
                self.on_answer(event.sequence_id, self._texts.pop(event.sequence_id, "").strip())
                self._room.release()
            elif isinstance(event, SequenceAborted | SequenceFailed):
                raise RuntimeError(f"{event.sequence_id}: {event}")

    def write(self, key: str, form: Form, question: Question, hits: Sequence[Hit]) -> None:
        """Submit a question once there is a slot for it."""
        self._room.acquire()
        prepared = self.engine.prepare(
            form.messages(question.text, hits, self.engine.count_tokens), max_tokens=ANSWER_TOKENS, sampling=GREEDY
        )
        self.engine.submit(
            SequenceRequest(
                sequence_id=key, prompt_token_ids=prepared.token_ids, sampling=GREEDY, max_tokens=ANSWER_TOKENS
            )
        )

    def wait(self) -> None:
        """Wait until all answers are there."""
        for _ in range(SLOTS):
            self._room.acquire()


def find(documents: dict[str, str], questions: Sequence[Question], model: CachedModel) -> dict[str, list[Hit]]:
    """Return what the search finds for each question, by its id."""
    with filled(chunks_of(documents), model) as store:
        retriever = Retriever(store, model, lambda ids: dict.fromkeys(ids, 1), default_threshold=THRESHOLD)
        return {one.id: retriever.search([one.text], SearchOptions(top_k=FOUND)) for one in questions}


def cached_hits(path: Path, ids: Sequence[str], compute: Callable[[], dict[str, list[Hit]]]) -> dict[str, list[Hit]]:
    """Return the hits in a file, or compute and store them if they are not those of all questions."""
    hits = msgspec.json.decode(path.read_bytes(), type=dict[str, list[Hit]]) if path.exists() else {}
    if hits.keys() != set(ids):
        hits = compute()
        path.write_bytes(msgspec.json.encode(hits))
    return hits


def is_right(answer: str, question: Question) -> bool:
    """Return whether an answer contains one of the right words or numbers, not as a part of another one."""
    return any(
        re.search(rf"(?<![\w.,]){re.escape(right.lower())}(e?s)?(?!\w|[.,]\d)", answer.lower())
        for right in question.answers
    )


def rows(answers: Answers, model: str, forms: Sequence[str], questions: Sequence[Question]) -> list[tuple[str, ...]]:
    """Return a row for each form: the share of right answers, by kind of question."""
    result = []
    for form in forms:
        cells = [form]
        for kind in KINDS[:-1]:
            keys = [(one, answers.get(f"{model}|{form}|{one.id}")) for one in questions if one.kind == kind]
            known = [is_right(answer, one) for one, answer in keys if answer is not None]
            cells.append(f"{sum(known) / len(known):.2f} ({len(known)})" if known else "–")
        result.append(tuple(cells))
    return result


def grounded_rows(
    answers: Answers, model: str, forms: Sequence[str], questions: Sequence[Question], hits: dict[str, list[Hit]]
) -> list[tuple[str, ...]]:
    """Return a row for each form: the share of answers that the check says are not grounded."""
    result = []
    for form in forms:
        flagged: dict[str, list[bool]] = {"none": [], "right": [], "answerable": []}
        for one in questions:
            answer = answers.get(f"{model}|{form}|{one.id}")
            if answer is None:
                continue
            used = FORMS[form].used(hits[one.id])
            sources = [Source.of(hit) for hit in used]
            is_flagged = not grounding_of(one.text, answer, sources).is_grounded
            flagged["answerable" if one.answers else "none"].append(is_flagged)
            if is_right(answer, one):
                flagged["right"].append(is_flagged)
        shares = [f"{sum(found) / len(found):.2f} ({len(found)})" if found else "–" for found in flagged.values()]
        result.append((form, *shares))
    return result


def write_answers(
    todo: Sequence[tuple[str, Question]],
    hits: Mapping[str, list[Hit]],
    answers: Answers,
    name: str,
    model: Path | None,
    ends: float,
) -> None:
    """Have the model answer questions in these forms, and keep the answers, until the monotonic time `ends`."""
    more: dict[str, Any] = {"model_path": model} if model else {}
    settings = load_settings(inference_slots=SLOTS, context_length=CONTEXT_TOKENS, **more)
    events: list[Writer] = []
    engine = Engine(
        open_backend(settings), slots=SLOTS, default_max_tokens=ANSWER_TOKENS, sink=lambda step: events[0](step)
    )
    writer = Writer(engine, answers.add)
    events.append(writer)
    engine.start()
    for form, one in todo:
        if time.monotonic() > ends:
            break
        writer.write(f"{name}|{form}|{one.id}", FORMS[form], one, hits[one.id])
    writer.wait()
    engine.close()


def main() -> None:
    """Run the forms that are asked for, and print the table of all that is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--embedder", choices=MODELS, default=STARTER)
    parser.add_argument("--forms", nargs="+", default=["before", "now"])
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--results", type=Path, default=Path("answers.jsonl"))
    arguments = parser.parse_args()
    ends = time.monotonic() + 60 * arguments.minutes
    forms = list(FORMS) if arguments.forms == ["all"] else arguments.forms
    documents, questions = build()
    hits = cached_hits(
        arguments.results.with_suffix(f".{arguments.embedder}.hits.json"),
        [one.id for one in questions],
        lambda: find(documents, questions, models([arguments.embedder])[0]),
    )
    asked = [one for one in questions if one.kind in arguments.kinds][: arguments.questions]
    answers, name = Answers(arguments.results), arguments.model.stem if arguments.model else STARTER
    name += "" if arguments.embedder == STARTER else f" with {arguments.embedder}"
    todo = [(form, one) for form in forms for one in asked if f"{name}|{form}|{one.id}" not in answers and hits[one.id]]
    if todo:
        write_answers(todo, hits, answers, name, arguments.model, ends)
    print_table(
        f"Share of answers with the right words: {name}, {len(asked)} questions",
        ("form", *KINDS[:-1]),
        rows(answers, name, forms, asked),
    )
    print_table(
        "Share of answers that are said not to be grounded",
        ("form", "no document has the answer", "the answer is right", "a document has the answer"),
        grounded_rows(answers, name, forms, asked, hits),
    )
    found = [one.document in [hit.document_id for hit in hits[one.id][:3]] for one in asked if one.answers]
    print(f"The right document is among the first three hits for {sum(found) / max(1, len(found)):.2f} of them.")


if __name__ == "__main__":
    main()
