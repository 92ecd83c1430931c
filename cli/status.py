"""`llm-api status`: processes, queues, documents and models, as far as they are reachable."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psutil
from rich.table import Table
from rich.text import Text

from cli.processes import Memory, memory_of, stack_processes
from cli.runtime import RuntimeDir, lock_owner
from cli.screen import Screen
from cli.supervisor import ProcessInfo, Supervisor
from core.catalog import Catalog, FolderState, to_text
from core.errors import LlmApiError
from core.settings import Settings
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role

T = TypeVar("T")


def collect(settings: Settings) -> dict[str, Any]:
    """Return everything that `status` shows. What is not reachable is None.

    `processes` are those that `llm-api up` started here. `announced` counts by role what is alive and uses the same
    Redis: in containers or on other machines too.
    Memory is in bytes. `memory_bytes` counts memory that processes share once, in equal parts; `resident_bytes` counts
    it for each of them.
    """
    runtime = RuntimeDir(settings.runtime_dir)
    memory, total = _memory(runtime)
    producer = Producer(settings)
    try:
        announced = _if_reachable(lambda: {role.value: len(producer.workers(role)) for role in Role})
        return {
            "running": lock_owner(runtime.up_lock) is not None or any((announced or {}).values()),
            "data_dir": str(settings.state_dir),
            "processes": _if_reachable(lambda: _processes(runtime, memory)) or {},
            "announced": announced,
            **_as_json(total),
            "queues": _if_reachable(producer.queue_lengths),
            "documents": _if_reachable(lambda: _documents(settings)),
            "folders": _if_reachable(lambda: _folders(settings)),
            "models": _if_reachable(lambda: _models(producer)),
        }
    finally:
        producer.close()


def status(settings: Settings, screen: Screen, *, as_json: bool) -> int:
    """Print the status. Return 0 if the stack runs, else 1."""
    found = collect(settings)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _print(found, screen)
    return 0 if found["running"] else 1


def _if_reachable(question: Callable[[], T]) -> T | None:
    try:
        return question()
    except LlmApiError:
        return None


def _memory(runtime: RuntimeDir) -> tuple[dict[int, Memory], Memory]:
    """Return the memory by process group (a supervised process and its children), and of the whole stack."""
    by_group: dict[int, Memory] = {}
    for process in stack_processes(runtime.path):
        with suppress(ProcessLookupError):
            group = os.getpgid(process.pid)
            by_group[group] = by_group.get(group, Memory()) + memory_of(process)
    own = (_memory_of_pid(lock_owner(lock)) for lock in (runtime.up_lock, runtime.guard_lock))
    return by_group, sum((*by_group.values(), *own), Memory())


def _memory_of_pid(pid: int | None) -> Memory:
    try:
        return Memory() if pid is None else memory_of(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return Memory()


def _as_json(memory: Memory) -> dict[str, int]:
    return {"memory_bytes": memory.own, "resident_bytes": memory.resident}


def _processes(runtime: RuntimeDir, memory: dict[int, Memory]) -> dict[str, Any]:
    return {name: _process(info, memory) for name, info in Supervisor(runtime.supervisor_socket).processes().items()}


def _process(info: ProcessInfo, memory: dict[int, Memory]) -> dict[str, Any]:
    return {
        "state": info.state.lower(),
        "pid": info.pid or None,
        "uptime_seconds": max(0, round(time.time() - info.started_at)) if info.pid else None,
        **_as_json(memory.get(info.pid, Memory()) if info.pid else Memory()),
        "log": str(info.log),
    }


def _documents(settings: Settings) -> dict[str, int]:
    with existing_catalog(settings) as catalog:
        return {str(state): count for state, count in catalog.counts_by_state().items()} if catalog else {}


def _folders(settings: Settings) -> list[dict[str, Any]]:
    """Return the folders of WATCH_DIRS and the URLs of WATCH_URLS that the watcher has recorded."""
    with existing_catalog(settings) as catalog:
        found = {folder.root: folder for folder in (catalog.watched_folders() if catalog else ())}
    roots = [*(to_text(root.path) for root in settings.watch_roots), *(site.url for site in settings.watch_sites)]
    return [
        {
            "path": root,
            "collection": found[root].collection,
            "mode": found[root].mode,
            "state": found[root].state.value,
            "missing": found[root].missing_count,
            "unreadable": found[root].unreadable_count,
        }
        for root in roots
        if root in found
    ]


@contextmanager
def existing_catalog(settings: Settings) -> Iterator[Catalog | None]:
    """Open the catalog, or yield None if it does not exist yet."""
    if settings.database_url is None and not (settings.state_dir / "catalog.sqlite3").exists():
        yield None
        return
    catalog = Catalog.open(settings.catalog_url)
    try:
        yield catalog
    finally:
        catalog.close()


def _models(producer: Producer) -> dict[str, Any]:
    return {
        "language": [info for info in producer.workers(Role.INFERENCE).values()],
        "embedding": [info for info in producer.workers(Role.INDEX).values()],
    }


def _print(found: dict[str, Any], screen: Screen) -> None:
    if not found["running"]:
        screen.print(Text(f"llm-api is not running on {found['data_dir']}", style="bold yellow"))
    if found["processes"]:
        screen.print(_process_table(found["processes"]))
        memory, resident = megabytes(found["memory_bytes"]), megabytes(found["resident_bytes"])
        screen.print(f"Memory in all: {memory}. Resident, with shared memory once for each process: {resident}", "")
    else:
        screen.print(_line("Processes", found["announced"]))
    screen.print(_line("Queues", _shown_queues(found["queues"])), _line("Documents", found["documents"]))
    for folder in found["folders"] or ():
        screen.print(_folder_line(folder))
    for model in _model_lines(found["models"]):
        screen.print(model)


def _process_table(processes: dict[str, Any]) -> Table:
    table = Table("process", "state", "pid", "up", "memory", box=None, header_style="bold")
    for column in table.columns[2:]:
        column.justify = "right"
    for name, process in processes.items():
        style = "green" if process["state"] == "running" else "yellow"
        uptime = "–" if process["uptime_seconds"] is None else duration(process["uptime_seconds"])
        pid = str(process["pid"] or "–")
        table.add_row(name, Text(process["state"], style=style), pid, uptime, megabytes(process["memory_bytes"]))
    return table


def _line(title: str, counts: dict[str, int] | None) -> Text:
    if counts is None:
        return Text(f"{title:<10} not reachable", style="yellow")
    return Text(f"{title:<10} " + (", ".join(f"{name} {count}" for name, count in counts.items()) or "none"))


def _shown_queues(lengths: dict[str, int] | None) -> dict[str, int] | None:
    """Return the lengths of the queues, without those of single models that are empty: there may be hundreds."""
    return lengths and {name: length for name, length in lengths.items() if length or "." not in name}


def _folder_line(folder: dict[str, Any]) -> Text:
    title, items = ("Web", "pages") if "://" in folder["path"] else ("Folder", "files or folders")
    line = f"{title:<10} {folder['path']} ({folder['collection']}, {folder['mode']}): {folder['state']}"
    problems = []
    if folder["missing"]:
        problems.append(
            f"the {items.split()[0]} of {folder['missing']} documents are missing. Restore them, or run `llm-api watch "
            "confirm`."
        )
    elif folder["state"] == FolderState.MISSING:
        problems.append("there is no such folder. Create it, or mount it.")
    if folder["unreadable"]:
        problems.append(
            f"{folder['unreadable']} {items} cannot be read. `llm-api documents skipped --collection "
            f"{folder['collection']}` says which."
        )
    return Text(", ".join([line, *problems]), style="yellow" if problems else "")


def _model_lines(models: dict[str, Any] | None) -> list[str]:
    if models is None:
        return []
    lines = []
    for info in models["language"]:
        model = info.get("model", {})
        starter = " (the starter, a demonstration: set MODEL_PATH)" if model.get("is_starter") else ""
        template = f", chat template {model.get('chat_template')}"
        lines.append(f"Model      {model.get('name')}, context {model.get('context_length')}{template}{starter}")
    for info in models["embedding"]:
        lines.append(f"Embeddings {info.get('model')}, {info.get('dimension')} dimensions")
        if info.get("rerank_model"):
            lines.append(f"Reranker   {info['rerank_model']}")
    return lines


def megabytes(count: int) -> str:
    """Return a number of bytes as text in megabytes."""
    return f"{count / 2**20:,.0f} MB"


def duration(seconds: int) -> str:
    """Return a duration as text in its two largest units."""
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // small} {small_unit}"
    return f"{seconds} s"
