"""`llm-api rollback`: changes the catalog back to the tables of an older release."""

from __future__ import annotations

from contextlib import closing

from cli.backup import stopped_stack
from cli.screen import Screen
from core.catalog import Catalog
from core.errors import ConfigurationError
from core.settings import Settings
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role


def rollback(settings: Settings, revision: str, screen: Screen) -> int:
    """Change the tables back to a revision. Return the exit status.

    Raises:
        ConfigurationError: something uses the catalog, or the revision is not an older one.
        StorageFull: there is no room for the copy that is made first.
        Unavailable: the database does not answer.
    """
    with stopped_stack(settings) as is_stopped:
        if not is_stopped:
            raise ConfigurationError("llm-api is running on this DATA_DIR: stop it first (`llm-api down`).")
        if settings.redis_url is not None:
            _require_no_processes(settings)
        with closing(Catalog.open(settings.catalog_url)) as catalog:
            copy = catalog.downgrade(revision)
    screen.print(f"The catalog has the tables of revision {revision}. Start the release that made them.")
    if copy is not None:
        screen.print(f"As it was before: {copy}")
    return 0


def _require_no_processes(settings: Settings) -> None:
    producer = Producer(settings)
    try:
        live = sorted(name for role in Role for name in producer.workers(role))
    finally:
        producer.close()
    if live:
        raise ConfigurationError(f"Processes of llm-api use the catalog: stop them first ({', '.join(live[:5])}).")
