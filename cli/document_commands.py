"""`llm-api ingest` and `llm-api documents`: upload files, show their progress, retry, cancel, delete."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from cli.api_commands import Collection, Key, Limit, Url, printable, screen, table
from cli.client import ApiClient, Json, multipart
from cli.collection_commands import collection_path, coverage, coverage_table, reasons_table
from cli.filter_options import value_of
from core.errors import InvalidRequest, Unavailable
from core.settings import get_settings
from core.watch_roots import DEFAULT_COLLECTION

#: The number of files of one upload request: a folder of thousands is sent in batches that can each be retried.
BATCH_FILES = 50
POLL_SECONDS = 0.5
#: The number of unfinished documents per poll: documents finish in the order in which they came, so the first suffice.
ASKED_AT_ONCE = 8
_DONE = {"retry": "are queued again", "cancel": "were cancelled"}
SETTLED = ("completed", "failed", "cancelled")
PATH = "/v1/rag/documents"

documents_app = typer.Typer(
    help="Documents: what is indexed and what is not; list, show, retry, cancel, delete.", no_args_is_help=False
)


def ingest(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Files, or folders that contain files.")],
    collection: Annotated[str, typer.Option(help="The collection to add them to.")] = "default",
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", "-a", help="KEY=VALUE or KEY=[LIST], for filters; may be repeated."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace documents that have the same name.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until they are searchable.")] = True,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Upload files and wait until they are searchable. Exit with status 1 if one of them failed."""
    files, unreadable = _readable(_files(paths))
    fields = {"collection": collection, "metadata": json.dumps(_attributes(attribute or []))}
    fields |= {"replace": "true"} if replace else {}
    with ApiClient(get_settings(), url, api_key) as client:
        found = _upload(client, files, fields)
        known = sum(document.get("duplicate", False) for document in found)
        if wait:
            found = _settled(client, found)
    screen.print(document_table(found))
    if known:
        screen.print(f"{known} of {len(files)} files had already been uploaded")
    for path in unreadable:
        screen.print(f"{printable(str(path))} was skipped: you have no permission to read it")
    if unreadable or any(document["status"] in ("failed", "cancelled") for document in found):
        raise typer.Exit(1)


@documents_app.callback(invoke_without_command=True)
def documents(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(help="Only documents with this status, such as failed.")] = None,
    collection: Collection = None,
    limit: Limit = 20,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Show how much of each collection is indexed, and the newest documents."""
    if context.invoked_subcommand is not None:
        return
    with ApiClient(get_settings(), url, api_key) as client:
        covered = coverage(client, collection) if status is None else []
        found = client.listed(PATH, limit, status=status, collection=collection)
    if status is None:
        screen.print(coverage_table(covered), "")
        if any(one["coverage"]["skipped"] or one["coverage"]["failed"] for one in covered):
            screen.print(reasons_table(covered), "")
    screen.print(document_table(found))


@documents_app.command("skipped")
def skipped_files(
    collection: Annotated[str, typer.Option(help="The collection that the watched folder is mirrored into.")] = (
        DEFAULT_COLLECTION
    ),
    limit: Limit = 20,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """List the skipped files of a collection's watched folders, with the reason, such as a rule of .llmignore."""
    with ApiClient(get_settings(), url, api_key) as client:
        found = client.listed(f"{collection_path(collection)}/skipped", limit)
    screen.print(table(found, ("path", "reason", "folder")))


@documents_app.command("show")
def show_document(document_id: str, url: Url = None, api_key: Key = None) -> None:
    """Show one document."""
    with ApiClient(get_settings(), url, api_key) as client:
        screen.console.print_json(data=client.get(f"{PATH}/{document_id}"))


@documents_app.command("retry")
def retry_documents(
    document_ids: Annotated[list[str] | None, typer.Argument()] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Retry all failed documents.")] = False,
    collection: Collection = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Retry failed or cancelled documents: those named, or all that failed."""
    _apply("retry", document_ids or [], failed, collection, "--failed", url, api_key)


@documents_app.command("cancel")
def cancel_documents(
    document_ids: Annotated[list[str] | None, typer.Argument()] = None,
    unfinished: Annotated[bool, typer.Option("--all", help="Cancel all that wait or are being processed.")] = False,
    collection: Collection = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Cancel the indexing of documents: of those named, or of all that are not done."""
    _apply("cancel", document_ids or [], unfinished, collection, "--all", url, api_key)


@documents_app.command("delete")
def delete_documents(document_ids: list[str], url: Url = None, api_key: Key = None) -> None:
    """Delete documents."""
    with ApiClient(get_settings(), url, api_key) as client:
        for document_id in document_ids:
            client.delete(f"{PATH}/{document_id}")
            screen.print(f"deleted {document_id}")


def _apply(
    action: str,
    document_ids: Sequence[str],
    every: bool,
    collection: str | None,
    option: str,
    url: str | None,
    api_key: str | None,
) -> None:
    if bool(document_ids) == every:
        raise InvalidRequest(f"Name documents by their ids, or choose all of them with {option}.")
    with ApiClient(get_settings(), url, api_key) as client:
        for document_id in document_ids:
            screen.print(f"{document_id} is {client.post(f'{PATH}/{document_id}/{action}')['status']}")
        if every:
            answer = client.post(f"{PATH}/{action}", {"collection": collection})
            screen.print(f"{answer['count']} documents {_DONE[action]}")


def document_table(found: Sequence[Json]) -> Table | str:
    """Return a table of documents. It shows why a document failed or has stalled."""
    rows = [
        {
            **document,
            "path": document.get("path") or document["filename"],
            "chunks": document["chunk_count"],
            "percent": document["progress"]["percent"],
            "reason": document["error"] or _stall(document),
        }
        for document in found
    ]
    return table(rows, ("id", "status", "percent", "path", "collection", "chunks", "reason"))


def _stall(document: Json) -> str:
    progress = document["progress"]
    return f"stalled: {progress['activity_reason']}" if progress["activity"] == "stalled" else ""


def _files(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the files by the name to send, each once.

    That is the name of a file, or for a file in a folder its path from that folder's name on. Where it would name two
    files, they get more folders of their paths: `a/report.pdf` and `b/report.pdf`.
    """
    names: dict[Path, str] = {}
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            inner = file.relative_to(path)
            if file.is_file() and not any(part.startswith(".") for part in inner.parts):
                name = str(path.resolve().name / inner) if path.is_dir() else file.name
                names.setdefault(Path(os.path.abspath(file)), name)
    if not names:
        raise InvalidRequest("There is no file to ingest in " + ", ".join(map(str, paths)))
    return {name: file for file, name in _distinct(names).items()}


def _distinct(names: dict[Path, str]) -> dict[Path, str]:
    """Return the names by file, with as many folders as tell those apart that are the same."""
    while len(counts := Counter(names.values())) < len(names):
        names = {
            file: "/".join(file.parts[-len(PurePath(name).parts) - 1 :]).lstrip("/") if counts[name] > 1 else name
            for file, name in names.items()
        }
    return names


def _readable(files: Mapping[str, Path]) -> tuple[dict[str, Path], list[Path]]:
    """Return the readable files by name, and the paths of the others.

    Raises:
        InvalidRequest: none of them is readable.
    """
    readable = {name: path for name, path in files.items() if os.access(path, os.R_OK)}
    others = [path for name, path in files.items() if name not in readable]
    if not readable:
        raise InvalidRequest("You have no permission to read these files: " + ", ".join(map(str, others)))
    return readable, others


def _attributes(given: Sequence[str]) -> dict[str, Any]:
    """Parse attributes given as `KEY=VALUE`. A value is a number, a truth value or a list if it is one in JSON."""
    attributes: dict[str, Any] = {}
    for item in given:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise InvalidRequest(f"--attribute {item}: write KEY=VALUE.")
        attributes[key] = value_of(value, lists=True)
    return attributes


def _upload(client: ApiClient, files: Mapping[str, Path], fields: dict[str, str]) -> list[Json]:
    columns = (TextColumn("uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    found: dict[str, Json] = {}
    names = iter(files)
    with Progress(*columns, console=screen.console, transient=True) as progress:
        task = progress.add_task("upload", total=sum(file.stat().st_size for file in files.values()))
        while batch := list(islice(names, BATCH_FILES)):
            boundary = uuid.uuid4().hex
            parts = multipart({name: files[name] for name in batch}, fields, boundary)
            answer = client.upload(_counted(parts, progress, task), f"multipart/form-data; boundary={boundary}")
            found |= {document["id"]: document for document in answer["data"]}
    return list(found.values())


def _counted(parts: Iterator[bytes], progress: Progress, task: Any) -> Iterator[bytes]:
    for part in parts:
        yield part
        progress.advance(task, len(part))


def _settled(client: ApiClient, found: Sequence[Json]) -> list[Json]:
    """Return the documents once each of them is completed, failed or cancelled."""
    current = {document["id"]: document for document in found}
    columns = (TextColumn("indexing {task.fields[done]} of {task.fields[of]}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen.console, transient=True) as progress:
        task = progress.add_task("index", total=100 * len(current), done=0, of=len(current))
        while waiting := [key for key, one in current.items() if one["status"] not in SETTLED]:
            _show(progress, task, current, len(waiting))
            if not _refresh(client, current, waiting):
                time.sleep(POLL_SECONDS)
    return list(current.values())


def _show(progress: Progress, task: Any, current: Mapping[str, Json], waiting: int) -> None:
    percents = (100 if one["status"] in SETTLED else one["progress"]["percent"] for one in current.values())
    progress.update(task, completed=sum(percents), done=len(current) - waiting)


def _refresh(client: ApiClient, current: dict[str, Json], waiting: Sequence[str]) -> bool:
    """Update the documents that are not done, from the first on. Return False once several are still not done."""
    unfinished = 0
    for document_id in waiting:
        # The API may be restarting. The uploads are durable, so it is right to keep asking.
        with suppress(Unavailable):
            current[document_id] = client.get(f"{PATH}/{document_id}")
        unfinished += current[document_id]["status"] not in SETTLED
        if unfinished >= min(ASKED_AT_ONCE, len(waiting)):
            return False
    return True
