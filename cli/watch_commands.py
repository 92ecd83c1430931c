"""`llm-api watch`: the watched folders, and the confirmation of held deletions."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cli.api_commands import Key, Url, screen, table
from cli.client import ApiClient
from core.settings import get_settings

PATH = "/v1/watch"
COLUMNS = ("path", "collection", "mode", "state", "documents", "missing", "unreadable")

watch_app = typer.Typer(help="Watched folders: list, confirm deletions.", no_args_is_help=False)


@watch_app.callback(invoke_without_command=True)
def watch(context: typer.Context, url: Url = None, api_key: Key = None) -> None:
    """List the watched folders with their state."""
    if context.invoked_subcommand is None:
        with ApiClient(get_settings(), url, api_key) as client:
            screen.print(table(client.get(PATH)["data"], COLUMNS))


@watch_app.command("confirm")
def confirm(
    path: Annotated[str | None, typer.Argument(help="The folder or URL (default: all that are held).")] = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Confirm that the missing files of a folder were deleted on purpose. Their documents are then deleted."""
    body = {} if path is None else {"path": path if "://" in path else os.path.abspath(path)}
    with ApiClient(get_settings(), url, api_key) as client:
        confirmed = client.post(f"{PATH}/confirm", body)["data"]
    for folder in confirmed:
        screen.print(f"{folder['path']}: {folder['missing']} documents are deleted")
