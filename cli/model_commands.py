"""`llm-api models`: load, unload and default call the API, the others use the folder itself, without a server."""

from __future__ import annotations

import threading
import time
from typing import Annotated
from urllib.parse import quote

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cli.api_commands import Key, Url, models, screen, table
from cli.client import ApiClient, Json
from cli.runtime import RuntimeDir, lock_owner
from core.errors import InvalidRequest, NotFound, Unavailable
from core.models.hub import Reference
from core.models.library import LibraryModel, ModelLibrary
from core.models.names import check_model_name, model_slug
from core.models.recommended import RECOMMENDED, Memory, RecommendedModel, best_for, recommended_models
from core.settings import get_settings
from tasks.jobs.model_queues import wait_until_known
from tasks.jobs.producer import Producer

#: What `pull` takes instead of a reference.
#: The status of a command that the user has interrupted, as shells have it.
INTERRUPTED = 130
#: How often a model's state is asked for. Supervisors announce a change within about three seconds.
STATE_SECONDS = 3.0

models_app = typer.Typer(help="Models: list, show, pull, remove, load, unload, default.", no_args_is_help=False)


@models_app.callback(invoke_without_command=True)
def known_models(context: typer.Context, url: Url = None, api_key: Key = None) -> None:
    """List the models that the server has loaded or can load."""
    if context.invoked_subcommand is None:
        models(url, api_key)


@models_app.command("list")
def list_models() -> None:
    """List the models on this machine, and the files in MODELS_DIR that cannot be used."""
    library = ModelLibrary(get_settings())
    rows = [_row(model) for model in library.models()]
    screen.print(table(rows, ("name", "size", "quantisation", "context", "from")))
    for problem in library.problems:
        screen.print(f"[yellow]unusable:[/] {problem.message}")


@models_app.command("show")
def show_model(name: Annotated[str, typer.Argument(help="As `models list` has it.")]) -> None:
    """Show what the file of a model says, and how much memory it needs."""
    settings = get_settings()
    model = _found(ModelLibrary(settings), name)
    details = {
        **_row(model),
        "path": str(model.path),
        "architecture": model.architecture,
        "parameters": f"{model.parameters / 1e6:,.0f} M",
        "chat template": "in the file" if model.has_chat_template else "of its family",
        "memory": f"{_size(model.needed_bytes(settings))} at least, "
        f"{_size(model.wanted_bytes(settings))} for its whole context",
    }
    screen.print(table([{"name": key, "value": value} for key, value in details.items()], ("name", "value")))


@models_app.command("pull")
def pull(
    reference: Annotated[
        str, typer.Argument(metavar="REPO[:FILE|:QUANT]", help="A model on the Hugging Face hub, or `recommended`.")
    ],
) -> None:
    """Download a model into MODELS_DIR. It can be interrupted: the next time goes on where it has stopped."""
    wanted = _recommended() if reference == RECOMMENDED else Reference.parse(reference)
    # Imported here, because the commands that do not download need no HTTP client.
    from core.models.pull import pull_model

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=screen.console,
    ) as bar:
        task = bar.add_task(str(wanted), total=None)
        try:
            pulled = pull_model(
                wanted,
                get_settings(),
                lambda done, total: bar.update(task, completed=done, total=total),
                threading.Event(),
            )
        except KeyboardInterrupt:
            bar.stop()
            screen.print("Interrupted. What has been downloaded is kept: pull it again to go on.")
            raise typer.Exit(INTERRUPTED) from None
    _wait_until_known(pulled.name)
    screen.print(f"{pulled.name} is in {pulled.path.parent}")


def _wait_until_known(name: str) -> None:
    """If a server runs here, wait until it has seen the model, so that the next request may name it."""
    settings = get_settings()
    if lock_owner(RuntimeDir(settings.runtime_dir).up_lock) is None:
        return
    producer = Producer(settings)
    try:
        wait_until_known(producer, model_slug(name), threading.Event())
    except Unavailable as error:
        screen.print(f"The server will see the model later: {error.message}")
    finally:
        producer.close()


Name = Annotated[str, typer.Argument(help="As `models list` has it.")]


@models_app.command("load")
def load_model(name: Name, url: Url = None, api_key: Key = None) -> None:
    """Load a model, and wait until it is loaded."""
    with ApiClient(get_settings(), url, api_key) as client, screen.waiting(f"loading {name} …"):
        client.post(f"/v1/models/{quote(name, safe='')}/load")
        model = _wait_for(client, name, {"loaded", "failed"})
    if model["state"] == "failed":
        raise Unavailable(f"{model['id']} could not be loaded: {model.get('problem') or 'see the log of `up`'}")
    screen.print(f"{model['id']} is loaded")


@models_app.command("unload")
def unload_model(name: Name, url: Url = None, api_key: Key = None) -> None:
    """Unload a model, and wait until what it is answering has ended."""
    with ApiClient(get_settings(), url, api_key) as client, screen.waiting(f"unloading {name} …"):
        client.post(f"/v1/models/{quote(name, safe='')}/unload")
        model = _wait_for(client, name, {"available", "failed"})
    screen.print(f"{model['id']} is unloaded")


@models_app.command("default")
def set_default(name: Name, url: Url = None, api_key: Key = None) -> None:
    """Make a model the one that answers requests which name no known model, now and after the next start."""
    with ApiClient(get_settings(), url, api_key) as client:
        model = client.post(f"/v1/models/{quote(name, safe='')}/default")
    screen.print(f"{model['id']} is the default model")


def _wait_for(client: ApiClient, name: str, states: set[str]) -> Json:
    """Wait until the model has one of these states, which a worker that hangs prevents for as long as it does."""
    while True:
        # The state of the moment may still be that from before the request.
        time.sleep(STATE_SECONDS)
        model = client.get(f"/v1/models/{quote(name, safe='')}")
        if model["state"] in states:
            return model


@models_app.command("rm")
def remove(name: Annotated[str, typer.Argument(help="As `models list` has it.")]) -> None:
    """Remove a model's files from MODELS_DIR."""
    from core.models.removal import remove_model

    settings = get_settings()
    try:
        model = remove_model(name, ModelLibrary(settings), settings)
    except OSError as error:
        raise Unavailable(f"{error.filename} cannot be removed: {error.strerror}.") from error
    screen.print(f"removed {model.name} ({_size(model.bytes)})")


@models_app.command(RECOMMENDED)
def show_recommended() -> None:
    """List models for common machines: their size, their licence, and which one suits this machine best."""
    memory, known = Memory.of_this_machine(), recommended_models()
    best = best_for(memory, known)
    screen.print(table([_recommended_row(model, memory, best) for model in known], _RECOMMENDED_COLUMNS))
    if best is not None:
        screen.print(
            f"For this machine: llm-api models pull {best.reference}   (or: llm-api models pull {RECOMMENDED})"
        )


_RECOMMENDED_COLUMNS = ("name", "size", "memory", "licence", "for", "here")


def _recommended_row(model: RecommendedModel, memory: Memory, best: RecommendedModel | None) -> Json:
    return {
        "name": str(model.reference),
        "size": f"about {_size(model.bytes)}",
        "memory": f"about {_size(model.memory_bytes)}",
        "licence": model.licence,
        "for": model.purpose,
        "here": "best" if model is best else "fits" if memory.fits(model) else "no",
    }


def _recommended() -> Reference:
    best = best_for(Memory.of_this_machine(), recommended_models())
    if best is None:
        raise InvalidRequest("No recommended model fits into this machine's memory: see `llm-api models recommended`.")
    screen.print(f"{best.reference}: about {_size(best.bytes)}, {best.licence}. {best.purpose}.")
    return best.reference


def _found(library: ModelLibrary, name: str) -> LibraryModel:
    check_model_name(name)
    model = library.find(name)
    if model is None:
        problems = "".join(f" {problem.message}" for problem in library.problems if name in problem.path.name)
        raise NotFound(f"There is no model {name!r} here.{problems} `llm-api models list` shows what there is.")
    return model


def _row(model: LibraryModel) -> Json:
    return {
        "name": model.name,
        "size": _size(model.bytes),
        "quantisation": model.quantisation,
        "context": f"{model.context_length:,}" if model.context_length else "",
        "from": model.repo or ("the starter's package" if model.is_starter else model.origin),
    }


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
