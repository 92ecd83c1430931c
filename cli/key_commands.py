"""`llm-api keys`: create, list, revoke. They use the catalog itself, so they need no key and no running server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from cli.api_commands import Limit, screen, table
from cli.client import Json
from cli.preflight import prepare_directories
from core.catalog import Catalog
from core.errors import InvalidRequest
from core.keys import DEFAULT_SCOPES, ApiKey, KeyRights, Scope, key_digest, new_secret, require_consistent
from core.settings import Settings, get_settings
from tasks.jobs.compatibility import require_compatible
from tasks.jobs.producer import Producer

MAX_OWNER_LENGTH = 128
DAY_SECONDS = 86400

keys_app = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=False)


@keys_app.callback(invoke_without_command=True)
def keys(context: typer.Context) -> None:
    """List the keys, the newest first."""
    if context.invoked_subcommand is None:
        list_keys()


@keys_app.command("create")
def create_key(
    owner: Annotated[str, typer.Argument(help="Whose key it is: what is made with it belongs to this name.")],
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", help="May be repeated (default: all but admin).")
    ] = None,
    collection: Annotated[
        list[str] | None, typer.Option("--collection", help="Only this collection; may be repeated.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Only this model; may be repeated.")] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Default: RATE_LIMIT_REQUESTS_PER_MINUTE.")
    ] = None,
    concurrent_requests: Annotated[
        int | None, typer.Option(min=1, help="Default: MAX_CONCURRENT_REQUESTS_PER_KEY.")
    ] = None,
    tokens_per_day: Annotated[int | None, typer.Option(min=1, help="Default: any number.")] = None,
    expires_days: Annotated[int | None, typer.Option(min=1, help="Days until it expires (default: never).")] = None,
) -> None:
    """Create a key and print it. Only its hash is stored, so it is not shown again."""
    rights = KeyRights(
        owner=_owner(owner),
        scopes=tuple(dict.fromkeys(scope)) if scope else DEFAULT_SCOPES,
        collections=tuple(sorted(set(collection))) if collection else None,
        models=tuple(sorted(set(model))) if model else None,
        requests_per_minute=requests_per_minute,
        concurrent_requests=concurrent_requests,
        tokens_per_day=tokens_per_day,
        expires_at=None if expires_days is None else time.time() + expires_days * DAY_SECONDS,
    )
    require_consistent(rights)
    secret = new_secret()
    with _catalog(get_settings()) as catalog:
        key = catalog.create_key(key_digest(secret), rights)
    screen.print(f"created {key.id} of {key.owner}; a running server accepts it within seconds")
    typer.echo(secret)


@keys_app.command("list")
def list_keys(limit: Limit = 100) -> None:
    """List the keys, the newest first."""
    with _catalog(get_settings()) as catalog:
        found = catalog.list_keys(limit).items
    names = ("id", "owner", "status", "scopes", "collections", "models", "last used")
    screen.print(table([_row(key) for key in found], names))


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="Its id, such as key-019…")]) -> None:
    """Revoke a key for good."""
    with _catalog(get_settings()) as catalog:
        key = catalog.revoke_key(key_id)
    screen.print(f"revoked {key.id} of {key.owner}; a running server refuses it within seconds")


@contextmanager
def _catalog(settings: Settings) -> Iterator[Catalog]:
    """Open the catalog. Upgrade it if no processes of an incompatible release use it."""
    prepare_directories(settings)
    catalog = Catalog.open(settings.catalog_url)
    try:
        if catalog.needs_migration():
            producer = Producer(settings)
            require_compatible(producer)
            producer.close()
            catalog.migrate()
        yield catalog
    finally:
        catalog.close()


def _owner(name: str) -> str:
    if not 0 < len(name) <= MAX_OWNER_LENGTH or name != name.strip() or not name.isprintable():
        raise InvalidRequest(f"The name of an owner is one line of 1 to {MAX_OWNER_LENGTH} characters.", param="owner")
    return name


def _row(key: ApiKey) -> Json:
    row: dict[str, Any] = {name: ", ".join(getattr(key, name) or ["all"]) for name in ("collections", "models")}
    used = "never" if key.last_used_at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(key.last_used_at))
    return row | {
        "id": key.id,
        "owner": key.owner,
        "status": _status(key),
        "scopes": ", ".join(key.scopes),
        "last used": used,
    }


def _status(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= time.time() else "valid"
