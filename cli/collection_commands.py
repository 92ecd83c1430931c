"""`llm-api collections`: list, create, show, rename, set, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli.api_commands import Key, Url, screen, table
from cli.client import ApiClient, Json
from core.errors import InvalidRequest
from core.settings import get_settings

PATH = "/v1/rag/collections"
#: The value that resets a setting to the server's.
SERVER_DEFAULT = "default"
#: The number of rows in the table of reasons.
SHOWN_REASONS = 10

Name = Annotated[str, typer.Argument(help="Its name (or id).")]
ChunkTokens = Annotated[str | None, typer.Option(help="Tokens of a chunk at most, or `default` for CHUNK_TOKENS.")]
EmbeddingModel = Annotated[
    str | None, typer.Option(help="EMBEDDING_MODEL_NAME, one of EMBEDDING_MODELS, or `default` for the server's.")
]
DenseWeight = Annotated[
    str | None,
    typer.Option(help="Weight of the cosine in searches, 0 to 1 (BM25 has the rest), or `default`."),
]
Overlap = Annotated[
    str | None, typer.Option(help="Tokens that neighbouring chunks share, or `default` for CHUNK_OVERLAP_TOKENS.")
]

collections_app = typer.Typer(help="Collections: list, create, show, rename, set, delete.", no_args_is_help=False)


@collections_app.callback(invoke_without_command=True)
def collections(context: typer.Context, url: Url = None, api_key: Key = None) -> None:
    """List collections with how many of their documents are indexed, wait, were skipped or failed."""
    if context.invoked_subcommand is None:
        with ApiClient(get_settings(), url, api_key) as client:
            screen.print(coverage_table(coverage(client)))


@collections_app.command("create")
def create_collection(
    name: Name,
    chunk_tokens: ChunkTokens = None,
    chunk_overlap_tokens: Overlap = None,
    embedding_model: EmbeddingModel = None,
    dense_weight: DenseWeight = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Create a collection."""
    body = {"name": name, **_settings(chunk_tokens, chunk_overlap_tokens, embedding_model, dense_weight)}
    with ApiClient(get_settings(), url, api_key) as client:
        created = client.post(PATH, body)
    screen.print(f"created {created['name']} ({created['id']})")


@collections_app.command("show")
def show_collection(name: Name, url: Url = None, api_key: Key = None) -> None:
    """Show one collection, with the reasons why documents were skipped or failed."""
    with ApiClient(get_settings(), url, api_key) as client:
        screen.console.print_json(data=client.get(collection_path(name)))


@collections_app.command("rename")
def rename_collection(
    name: Name, new_name: Annotated[str, typer.Argument()], url: Url = None, api_key: Key = None
) -> None:
    """Rename a collection. Nothing is indexed again."""
    with ApiClient(get_settings(), url, api_key) as client:
        client.patch(collection_path(name), {"name": new_name})
    screen.print(f"{name} is now {new_name}")


@collections_app.command("set")
def set_collection(
    name: Name,
    chunk_tokens: ChunkTokens = None,
    chunk_overlap_tokens: Overlap = None,
    embedding_model: EmbeddingModel = None,
    dense_weight: DenseWeight = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Change settings. Other chunks or another model: all documents are indexed again, and stay searchable."""
    changes = _settings(chunk_tokens, chunk_overlap_tokens, embedding_model, dense_weight)
    if not changes:
        raise InvalidRequest(
            "Nothing to set: name --chunk-tokens, --chunk-overlap-tokens, --embedding-model or --dense-weight."
        )
    with ApiClient(get_settings(), url, api_key) as client:
        count = client.patch(collection_path(name), changes)["reindexing"]
    screen.print(
        f"{name}: {count} documents are indexed again" if count else f"{name}: nothing has to be indexed again"
    )


@collections_app.command("delete")
def delete_collection(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Delete a collection with all its documents."""
    with ApiClient(get_settings(), url, api_key) as client:
        count = client.get(collection_path(name))["coverage"]["documents"]
        if not yes and not typer.confirm(f"Delete {name} with its {count} documents?"):
            raise typer.Exit(1)
        deleted = client.delete(collection_path(name))
    screen.print(f"deleted {name} with {deleted['documents']} documents")


def coverage(client: ApiClient, collection: str | None = None) -> list[Json]:
    """Return each collection, or the one named, with its coverage."""
    found: list[Json] = client.get(PATH)["data"] if collection is None else [client.get(collection_path(collection))]
    return found


def coverage_table(found: Sequence[Json]) -> Any:
    """Return a table of how much of each collection is indexed."""
    rows = [_row(one) for one in found]
    return table(rows, ("name", "documents", "indexed", "stale", "pending", "skipped", "failed", "chunks"))


def reasons_table(found: Sequence[Json]) -> Any:
    """Return a table of why documents are not indexed: first the failed ones, then by frequency."""
    rows = [
        {"name": one["name"], "what": what, "number": number, "reason": reason}
        for one in found
        for what in ("failed", "skipped")
        for reason, number in one["coverage"][what].items()
    ]
    rows.sort(key=lambda row: (row["what"], -row["number"]))
    shown, rest = rows[:SHOWN_REASONS], rows[SHOWN_REASONS:]
    if rest:
        more = {"what": "more", "number": sum(row["number"] for row in rest)}
        shown.append(more | {"reason": f"{len(rest)} other reasons: see `llm-api collections show NAME`"})
    return table(shown, ("name", "what", "number", "reason"))


def _row(collection: Json) -> Json:
    coverage = collection["coverage"]
    sums = {key: sum(coverage[key].values()) for key in ("skipped", "failed")}
    return {**coverage, **sums, "name": collection["name"]}


def collection_path(name: str) -> str:
    """Return the path of a collection in the API."""
    return f"{PATH}/{quote(name, safe='')}"


def _settings(
    chunk_tokens: str | None, chunk_overlap_tokens: str | None, embedding_model: str | None, dense_weight: str | None
) -> dict[str, float | str | None]:
    given = {"chunk_tokens": chunk_tokens, "chunk_overlap_tokens": chunk_overlap_tokens}
    settings: dict[str, float | str | None] = {
        name: _number(name, value) for name, value in given.items() if value is not None
    }
    if embedding_model is not None:
        settings["embedding_model"] = None if embedding_model == SERVER_DEFAULT else embedding_model
    if dense_weight is not None:
        settings["dense_weight"] = None if dense_weight == SERVER_DEFAULT else _weight(dense_weight)
    return settings


def _weight(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        message = f"--dense-weight={value}: give a number from 0 to 1, or `{SERVER_DEFAULT}`."
        raise InvalidRequest(message) from None


def _number(name: str, value: str) -> int | None:
    if value == SERVER_DEFAULT:
        return None
    if not (value.isascii() and value.isdecimal()):
        option = name.replace("_", "-")
        raise InvalidRequest(f"--{option}={value}: give a number of tokens, or `{SERVER_DEFAULT}`.")
    return int(value)
