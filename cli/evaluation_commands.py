"""`llm-api eval`: how well searches find what the user's own questions expect, and drafts of such questions."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.api_commands import Collection, Collections, Key, Url, printable, screen, table
from cli.client import ApiClient, Json
from cli.filter_options import value_of
from core.errors import InvalidRequest, LlmApiError
from core.settings import get_settings

PATH = "/v1/rag/evaluations"
POLL_SECONDS = 0.5
#: Options of a search that a comparison may set.
COMPARED = ("top_k", "rerank", "diversity", "neighbours", "score_threshold")
#: What a drafted question expects is found by this much of the beginning of its passage.
EXCERPT_CHARACTERS = 160
#: Documents that are listed, of which those for questions are drawn, and chunks of each.
LISTED_DOCUMENTS, LISTED_CHUNKS = 1000, 100
LEAST_PASSAGE_CHARACTERS = 200
QUESTION_TOKENS = 60
#: Passages that are tried for each question. Small models often ask "What is the text about?", which finds nothing.
MOST_TRIES = 3
#: Words of questions that name nothing, even if a passage has them.
_VAGUE = frozenset("what which when where who whom whose does have this that text passage document about".split())  # noqa: SIM905
_WORD = re.compile(r"\d+|\w{4,}")
DRAFT = (
    "{passage}\n\nWrite one question that the text above answers. Name what it is about, so that the question can be "
    "understood without the text. Write the question alone."
)


class EvaluationFailed(LlmApiError):
    """The evaluation did not come to its end; the message says why."""


class DefaultToRun(TyperGroup):
    """Takes a word that is not a command for the file of `run`: `llm-api eval FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["run", *args]
        return super().parse_args(ctx, args)


evaluation_app = typer.Typer(
    cls=DefaultToRun,
    no_args_is_help=True,
    help="Measure the search with your own questions: `llm-api eval QUESTIONS.jsonl`; `eval make` drafts some.",
)


@evaluation_app.command("run")
def run(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="QUESTIONS.jsonl")],
    collection: Collections = None,
    top_k: Annotated[int, typer.Option(min=1, max=100, help="How many hits count.")] = 10,
    compare: Annotated[
        list[str] | None,
        typer.Option(help="Another setting to measure beside the default one, as in rerank=false,neighbours=1."),
    ] = None,
    misses: Annotated[bool, typer.Option(help="List the questions for which something was not found.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Measure recall, nDCG, MRR and time. Each line: {"question": …, "files": […], "passages": […]}."""
    scope = {"top_k": top_k, **({"collections": collection} if collection else {})}
    settings = [{"name": "default", **scope}, *({"name": one, **scope, **_options(one)} for one in compare or [])]
    questions = list(_questions(file))
    with ApiClient(get_settings(), url, api_key) as client:
        report = _result(client, client.post(PATH, {"questions": questions, "settings": settings})["id"])
    if as_json:
        screen.console.print_json(data=report)
        return
    screen.print(table(report["settings"], ("name", "recall", "ndcg", "mrr", "mean_ms", "p95_ms")))
    if misses:
        _print_misses(report["questions"])


@evaluation_app.command("make")
def make(
    collection: Collection = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many questions to draft.")] = 20,
    model: Annotated[str | None, typer.Option(help="The language model (default: the server's).")] = None,
    seed: Annotated[int, typer.Option(help="Another number draws other passages.")] = 0,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Draft questions from passages of your documents, with the model, as lines for `llm-api eval`. Check them."""
    drawn = random.Random(seed)  # noqa: S311 - a sample, no secret
    with ApiClient(get_settings(), url, api_key) as client:
        documents = client.listed("/v1/rag/documents", LISTED_DOCUMENTS, collection=collection, status="completed")
        if not documents:
            raise InvalidRequest("There are no documents to draft questions from.")
        drawn.shuffle(documents)
        made = 0
        for at in range(count * MOST_TRIES):
            if made == count:
                break
            document = documents[at % len(documents)]
            passage = _passage(client, document, drawn)
            question = _drafted(client, passage, model) if passage else None
            if question and _names_something(question, passage):
                made += 1
                line = {
                    "question": question,
                    "files": [document["path"] or document["filename"]],
                    "passages": [passage[:EXCERPT_CHARACTERS].rpartition(" ")[0] or passage[:EXCERPT_CHARACTERS]],
                }
                typer.echo(json.dumps(line, ensure_ascii=False))
    if made < count:
        typer.echo(f"{made} questions: the model's other drafts name nothing of their passages.", err=True)


def _questions(file: Path) -> Iterator[Json]:
    """Yield the questions of a file.

    Raises:
        InvalidRequest: a line is not a JSON object with a question; the message names the line.
    """
    for number, line in enumerate(file.read_text("utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise InvalidRequest(f"{file}, line {number}: {error}") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("question"), str):
            raise InvalidRequest(f'{file}, line {number}: expected {{"question": "…", "files": ["…"]}}')
        yield {key: entry[key] for key in ("question", "files", "passages") if key in entry}


def _options(text: str) -> Json:
    """Return the search options of a comparison, such as `rerank=false,neighbours=1`."""
    options: Json = {}
    for part in text.split(","):
        name, sign, value = part.strip().partition("=")
        if not sign or name not in COMPARED:
            raise InvalidRequest(f"--compare {text}: expected NAME=VALUE, with one of the names {', '.join(COMPARED)}.")
        options[name] = value_of(value)
    return options


def _result(client: ApiClient, job_id: str) -> Json:
    """Wait for a job, and return its result."""
    while (job := client.get(f"/v1/jobs/{job_id}"))["status"] in ("queued", "running"):
        time.sleep(POLL_SECONDS)
    if job["status"] != "completed":
        raise EvaluationFailed((job["error"] or {}).get("message") or f"The job {job_id} was {job['status']}.")
    result: Json = job["result"]
    return result


def _print_misses(questions: Sequence[Json]) -> None:
    for entry in questions:
        missed = {name: [rank is None for rank in ranks] for name, ranks in entry["ranks"].items()}
        if any(map(any, missed.values())):
            screen.print(printable(entry["question"]))
        for name, are_missed in missed.items():
            for expected, is_missed in zip(entry["expected"], are_missed, strict=True):
                if is_missed:
                    screen.print(f"    not found ({printable(name)}): {printable(expected)}")


def _passage(client: ApiClient, document: Json, drawn: random.Random) -> str:
    """Return one of the longer passages of a document on one line, or "" if it has none."""
    found = client.post(
        "/v1/rag/search",
        {
            "query": document["filename"],
            "top_k": LISTED_CHUNKS,
            "score_threshold": -1,
            "rerank": None,
            "filters": {"type": "eq", "key": "document_id", "value": document["id"]},
        },
    )["data"]
    texts = [" ".join(hit["text"].split()) for hit in found]
    long = [text for text in texts if len(text) >= LEAST_PASSAGE_CHARACTERS] or texts
    return drawn.choice(long) if long else ""


def _drafted(client: ApiClient, passage: str, model: str | None) -> str | None:
    """Return the question that the model asks about a passage, or None if it asks none."""
    content = DRAFT.format(passage=passage)
    body = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": QUESTION_TOKENS,
        "temperature": 0,
    }
    text = client.post("/v1/chat/completions", body)["choices"][0]["message"]["content"] or ""
    lines = [line.strip().strip('"') for line in text.splitlines() if line.strip().strip('"').endswith(("?", "？"))]
    return lines[0] if lines else None


def _names_something(question: str, passage: str) -> bool:
    """Return whether a question has a word or number of its passage, so that a search can find it.

    Not all languages divide words by spaces: questions with letters beyond ASCII are all taken.
    """
    if not question.isascii():
        return True
    asked, known = ({word.lower() for word in _WORD.findall(text)} for text in (question, passage))
    return bool(asked & known - _VAGUE)
