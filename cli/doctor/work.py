"""Checks of what the stack works on: folders, models, workers and documents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cli.doctor.findings import Finding, note, ok, problem
from cli.runtime import RuntimeDir, lock_owner
from cli.status import existing_catalog
from cli.supervisor import ProcessInfo, Supervisor
from core.catalog import DocumentState, FolderState
from core.errors import Unavailable
from core.models.files import configured_model
from core.models.library import ModelLibrary
from core.settings import Settings
from tasks.jobs.presence import MAX_SILENT_SECONDS, needed_roles
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role

#: The states of supervisord in which a process should not stay.
_BROKEN = {"FATAL", "BACKOFF", "UNKNOWN"}


def folders(settings: Settings) -> Iterator[Finding]:
    """Check that the folders of the settings exist and can be read, and DATA_DIR written."""
    data = settings.state_dir
    if data.exists() and not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        yield problem("Folders", f"DATA_DIR={data} cannot be written by this user.", "Change its owner, or DATA_DIR.")
    for root in settings.watch_roots:
        path = Path(os.fsdecode(root.path))
        if not path.is_dir():
            text = f"WATCH_DIRS names {path}, which is no folder now. It is watched as soon as it is one."
            yield note("Folders", text, "Create it, or mount it.")
        elif not os.access(path, os.R_OK | os.X_OK):
            yield problem("Folders", f"The watched folder {path} cannot be read.", "Give this user the right to read.")
        elif root.mode == "consume" and not os.access(path, os.W_OK):
            text = f"Files cannot be removed from {path}, so each is taken and stays there."
            yield note("Folders", text, "Give this user the right to write, or choose the mode `mirror`.")
        else:
            yield ok("Folders", f"{path} ({root.collection}, {root.mode})")
    yield from _recorded_folders(settings)


def _recorded_folders(settings: Settings) -> Iterator[Finding]:
    with existing_catalog(settings) as catalog:
        for folder in [] if catalog is None or catalog.needs_migration() else catalog.watched_folders():
            if folder.state is FolderState.HELD:
                text = f"The files of {folder.missing_count} documents of {folder.root} vanished at once."
                yield problem("Folders", text, "Restore them, or let them go with `llm-api watch confirm`.")
            if folder.unreadable_count:
                text = f"{folder.unreadable_count} files or folders in {folder.root} cannot be read."
                remedy = f"`llm-api documents skipped --collection {folder.collection}` says which."
                yield note("Folders", text, remedy)


def models(settings: Settings) -> Iterator[Finding]:
    """Check that the configured model can be loaded, and name files that cannot be used."""
    configured = configured_model(settings)
    library = ModelLibrary(settings)
    usable = library.models()
    for found in library.problems:
        yield problem("Models", f"{found.path}: {found.message}", "Replace or remove the file.")
    model = next((model for model in usable if model.name == configured.name), None)
    if model is not None:
        demonstration = " (a demonstration: `llm-api models pull recommended`)" if model.is_starter else ""
        yield ok("Models", f"{model.name}{demonstration}, and {len(usable) - 1} more in {settings.models_path}")
    elif configured.path is None:
        yield note("Models", f"{configured.name} is not on this machine yet; the first start downloads it.")


def workers(settings: Settings) -> Iterator[Finding]:
    """Check that what runs is whole: every process, every role, and no engine that hangs."""
    runtime = RuntimeDir(settings.runtime_dir)
    if lock_owner(runtime.up_lock) is None:
        if settings.redis_url is None:
            yield note("Workers", "llm-api is not running here.", "Start it with `make run` or `llm-api up`.")
            return
    else:
        processes = Supervisor(runtime.supervisor_socket).processes().values()
        for process in processes:
            if process.state in _BROKEN:
                yield _broken(process)
    yield from _announced(settings)


def _broken(process: ProcessInfo) -> Finding:
    text = f"The process {process.name} does not stay up ({process.state.lower()})."
    return problem("Workers", text, f"Its log says why: {process.log}")


def _announced(settings: Settings) -> Iterator[Finding]:
    producer = Producer(settings)
    try:
        live = {role: producer.workers(role) for role in Role}
    except Unavailable:
        return  # Redis is a finding of its own
    finally:
        producer.close()
    # A model's worker may be unloaded, and starts with the next request.
    wanted = {Role.API, *needed_roles(settings)} - {Role.INFERENCE}
    for role in sorted(wanted):
        if not live[role]:
            yield problem("Workers", f"No {role.value} process is alive.", "See `llm-api status` and data/logs.")
    hanging = [
        (name, info["silent_seconds"])
        for name, info in live[Role.INFERENCE].items()
        if info.get("silent_seconds", 0) > MAX_SILENT_SECONDS
    ]
    for name, seconds in hanging:
        text = f"The engine of {name} has finished no step for {seconds:.0f} s."
        yield problem("Workers", text, "It ends and starts again by itself; if it comes back, use a smaller model.")
    if not hanging and all(live[role] for role in wanted):
        yield ok("Workers", ", ".join(f"{len(found)} {role.value}" for role, found in live.items() if found))


def documents(settings: Settings) -> Iterator[Finding]:
    """Name how many documents have failed."""
    with existing_catalog(settings) as catalog:
        is_readable = catalog is not None and not catalog.needs_migration()
        failed = catalog.counts_by_state().get(DocumentState.FAILED, 0) if catalog and is_readable else 0
    if failed:
        yield note(
            "Documents", f"{failed} documents have failed.", "`llm-api documents list --status failed` says why."
        )
