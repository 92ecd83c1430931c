"""The `llm-api` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import api_commands
from cli.collection_commands import collections_app
from cli.document_commands import documents_app, ingest
from cli.evaluation_commands import evaluation_app
from cli.key_commands import keys_app
from cli.model_commands import models_app
from cli.screen import Screen
from cli.service_commands import service_app
from cli.watch_commands import watch_app
from core.errors import LlmApiError
from core.settings import get_settings


class ReadableErrors(TyperGroup):
    """Prints errors without a traceback, and exits with status 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LlmApiError as error:
            typer.secho(f"Error: {error.message}", fg=typer.colors.RED, err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=ReadableErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A self-hosted LLM API: drop files into a folder, ask about them.",
)


@app.command()
def up() -> None:
    """Start everything in the foreground: API, workers, watcher, Flower and a private Redis."""
    from cli.up import up as run

    raise typer.Exit(run(get_settings(), Screen()))


@app.command()
def down() -> None:
    """Stop the processes that `llm-api up` started."""
    from cli.up import down as run

    raise typer.Exit(run(get_settings(), Screen()))


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False) -> None:
    """Show processes with their memory, queues, documents by state, and models. Exit with status 1 if nothing runs."""
    from cli.status import status as run

    raise typer.Exit(run(get_settings(), Screen(), as_json=as_json))


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False) -> None:
    """Say what is wrong with this installation, and how to mend it. Exit with status 1 if something is."""
    from cli.doctor.examination import doctor as run

    raise typer.Exit(run(get_settings(), Screen(), as_json=as_json))


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet.")],
) -> None:
    """Copy the catalog and all originals into DIR, and the vectors too if llm-api is not running."""
    from cli.backup import backup as run

    raise typer.Exit(run(get_settings(), folder, Screen()))


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `llm-api backup` has written.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the data in DATA_DIR.")] = False,
) -> None:
    """Restore a backup into an empty DATA_DIR. llm-api must not be running."""
    from cli.restore import restore as run

    raise typer.Exit(run(get_settings(), folder, Screen(), force=force))


@app.command()
def rollback(
    revision: Annotated[str, typer.Argument(help="That of the older release, which it names.")],
) -> None:
    """Change the catalog back to the tables of an older release, after a copy. Nothing may be running."""
    from cli.rollback import rollback as run

    raise typer.Exit(run(get_settings(), revision, Screen()))


for _command in (api_commands.ask, api_commands.search, ingest, api_commands.functions):
    app.command()(_command)
app.add_typer(models_app, name="models")
app.add_typer(documents_app, name="documents")
app.add_typer(collections_app, name="collections")
app.add_typer(watch_app, name="watch")
app.add_typer(api_commands.jobs_app, name="jobs")
app.add_typer(keys_app, name="keys")
app.add_typer(evaluation_app, name="eval")
app.add_typer(service_app, name="service")
