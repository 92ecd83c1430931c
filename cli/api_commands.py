"""The commands that call the API: ask, search, jobs, models, functions; and options and tables that all of them use."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cli.client import ApiClient, Json
from cli.filter_options import filters_of
from cli.screen import Screen
from core.errors import InvalidRequest
from core.settings import get_settings

Url = Annotated[str | None, typer.Option(envvar="LLM_API_URL", help="The API's URL (default: by HOST and PORT).")]
Key = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="LLM_API_KEY",
        help="Default: the first of API_KEYS, if the server is the one at HOST and PORT.",
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="How many to show at most.")]
Collection = Annotated[str | None, typer.Option(help="Only this collection.")]
Collections = Annotated[list[str] | None, typer.Option("--collection", help="Only this collection; may be repeated.")]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        "-f",
        help="Only documents that match: KEY=VALUE (or !=, <, <=, >, >=), or JSON as the API takes it. "
        "May be repeated: then documents must match all.",
    ),
]

#: Control characters, but for tabs and line ends, and the line and paragraph separators.
_FOR_TERMINAL = dict.fromkeys([*range(32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}") | {
    ord("\t"): "\t",
    ord("\n"): "\n",
    ord("\r"): "",
    0x2028: "\n",
    0x2029: "\n\n",
}

screen = Screen()
jobs_app = typer.Typer(help="Asynchronous jobs: list, show, cancel.", no_args_is_help=False)


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    collection: Collections = None,
    filters: Filters = None,
    sources: Annotated[int | None, typer.Option(min=1, help="Chunks to answer from (default: RAG_TOP_K).")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of the answer at most.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Ask the model only, without the documents.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Ask a question about the documents, and print the answer while it is generated."""
    body: Json = {"stream": True, "max_tokens": max_tokens}
    scope = {"collections": collection or None, "filters": filters_of(filters or [])}
    if plain:
        if any(scope.values()):
            raise InvalidRequest("--plain does not use the documents, so omit --collection and --filter.")
        path = "/v1/chat/completions"
        body |= {"messages": [{"role": "user", "content": question}]}
    else:
        path = "/v1/rag/chat"
        body |= {"query": question, "num_context_docs": sources, **scope}
    with ApiClient(get_settings(), url, api_key) as client:
        used = _print_answer(client.stream(path, body))
    if not plain:
        _print_sources(used)


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    collection: Collections = None,
    filters: Filters = None,
    top_k: Annotated[int | None, typer.Option(min=1, max=100, help="How many chunks to show.")] = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Show the chunks that match a query best."""
    scope = {"collections": collection or None, "filters": filters_of(filters or [])}
    with ApiClient(get_settings(), url, api_key) as client:
        hits = client.post("/v1/rag/search", {"query": query, "top_k": top_k, **scope})["data"]
    for hit in hits:
        screen.print(Text.assemble((_location(hit), "bold"), (f"   score {hit['score']:.3f}", "dim")))
        screen.print(Text("  " + " ".join(text_for_terminal(hit["text"]).split())), "")
    if not hits:
        screen.print("nothing found")


@jobs_app.callback(invoke_without_command=True)
def jobs(context: typer.Context, limit: Limit = 20, url: Url = None, api_key: Key = None) -> None:
    """List asynchronous jobs, the newest first."""
    if context.invoked_subcommand is not None:
        return
    with ApiClient(get_settings(), url, api_key) as client:
        found = client.listed("/v1/jobs", limit)
    screen.print(table(found, ("id", "kind", "status", "position"), {"created_at": _moment}))


@jobs_app.command("show")
def show_job(job_id: str, url: Url = None, api_key: Key = None) -> None:
    """Show one job, with its result or error."""
    with ApiClient(get_settings(), url, api_key) as client:
        screen.console.print_json(data=client.get(f"/v1/jobs/{job_id}"))


@jobs_app.command("cancel")
def cancel_job(job_id: str, url: Url = None, api_key: Key = None) -> None:
    """Cancel a job."""
    with ApiClient(get_settings(), url, api_key) as client:
        screen.print(f"{job_id} is {client.delete(f'/v1/jobs/{job_id}')['status']}")


def models(url: Url = None, api_key: Key = None) -> None:
    """List the models that the server has loaded or can load."""
    with ApiClient(get_settings(), url, api_key) as client:
        screen.print(table(client.get("/v1/models")["data"], ("id", "kind", "state")))


def functions(url: Url = None, api_key: Key = None) -> None:
    """List the functions that the server can run."""
    with ApiClient(get_settings(), url, api_key) as client:
        schemas = [item.get("function", item) for item in client.get("/v1/functions")["data"]]
    screen.print(table(schemas, ("name", "description")))


def _print_answer(events: Iterator[Json]) -> list[Json]:
    sources: list[Json] = []
    missing: Json = {}
    for event in events:
        sources = event.get("sources") or sources
        for choice in event.get("choices", []):
            screen.console.out(text_for_terminal(choice["delta"].get("content") or ""), end="", highlight=False)
            missing = choice.get("missing") or missing
    screen.print("")
    _print_missing(missing)
    return sources


def _print_missing(missing: Json) -> None:
    """Warn of an answer that the documents do not hold, with what they lack."""
    if words := ", ".join(missing.get("question", [])):
        screen.print(Text(f"(not in the documents: {printable(words)})", style="yellow"))
    if sentences := " ".join(missing.get("answer", [])):
        screen.print(Text(f"(not supported by the documents: {printable(sentences)})", style="yellow"))


def _print_sources(sources: Sequence[Json]) -> None:
    if not sources:
        screen.print(Text("(no document is relevant to the question)", style="yellow"))
    for number, source in enumerate(sources, 1):
        screen.print(Text(f"[{number}] {_location(source)}   score {source['score']:.3f}", style="dim"))
        for highlight in source.get("highlights", [])[:1]:
            screen.print(Text("    " + printable(" ".join(highlight["text"].split())), style="dim"))


def _location(hit: Json) -> str:
    parts = [hit.get("path") or hit["filename"]]
    if hit.get("page"):
        last = hit.get("last_page") or hit["page"]
        parts.append(f"page {hit['page']}" if last == hit["page"] else f"pages {hit['page']}-{last}")
    if hit.get("section"):
        parts.append(str(hit["section"]))
    return printable(", ".join(parts))


def table(rows: Sequence[Json], names: Sequence[str], formatted: dict[str, Any] | None = None) -> Table | str:
    """Return a table of rows with these keys as columns, or `none` if there are no rows."""
    if not rows:
        return "none"
    table = Table(box=None, header_style="bold")
    for name in (*names, *(formatted or {})):
        # Ids are not cut short, so that they can be copied into the next command.
        table.add_column(name, no_wrap=name in ("id", "name", "status"), overflow="fold")
    for row in rows:
        plain = [printable(str(row.get(name) if row.get(name) is not None else "")) for name in names]
        table.add_row(*map(Text, plain), *(form(row[name]) for name, form in (formatted or {}).items()))
    return table


def printable(text: str) -> str:
    """Return the text without control characters: anybody can name a file so that it commands the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def text_for_terminal(text: str) -> str:
    """Return a text without characters that command the terminal, and with `\\n` for the line ends of Unicode."""
    return text.translate(_FOR_TERMINAL)


def _moment(unix_seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_seconds))
