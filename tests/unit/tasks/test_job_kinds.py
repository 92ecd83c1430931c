"""The table of job kinds, and that everything that it names exists."""

from __future__ import annotations

from pkgutil import resolve_name

import msgspec
import pytest

from api.app import create_app
from core import events
from core.errors import InternalError
from core.settings import Settings
from tasks.jobs import kinds
from tasks.jobs.kinds import CHAT, JobKind, all_kinds, all_tasks, kind_named, register
from tasks.jobs.queues import Queue, Role, Task, Tasks

KINDS = pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.name)


@KINDS
def test_every_function_that_the_table_names_exists(kind: JobKind) -> None:
    names = [*kind.endpoints.values(), *([kind.result_when_settled] if kind.result_when_settled else [])]
    assert names and all(callable(resolve_name(name)) for name in names)


@KINDS
def test_every_task_of_a_kind_has_a_function_and_a_route(kind: JobKind) -> None:
    import celeryconfig
    from tasks import task_functions

    registered = task_functions.celery_app.tasks
    for task in kind.tasks:
        assert task.name in registered
        assert celeryconfig.task_routes[task.name] == {"queue": task.queue.value}


@KINDS
def test_every_endpoint_of_a_kind_is_a_route(kind: JobKind, settings: Settings) -> None:
    paths = create_app(settings).openapi()["paths"]
    assert all("post" in paths[path] for path in kind.endpoints)


@KINDS
def test_a_kind_is_interactive_or_durable_and_names_events(kind: JobKind) -> None:
    assert kind.interactive or kind.durable
    assert issubclass(kind.request, msgspec.Struct)
    assert all(issubclass(event, events.Event) for event in kind.events)


def test_every_task_has_a_worker_and_every_queue_a_role() -> None:
    assert {task.queue.role for task in all_tasks()} == set(Role) - {Role.API, Role.WATCHER, Role.SUPERVISOR}
    assert all(queue.role for queue in Queue)


def test_durable_generation_waits_behind_the_interactive_one() -> None:
    assert Tasks.GENERATE.queue_for(durable=True) is Queue.BATCH
    assert Tasks.GENERATE.queue_for(durable=False) is Queue.INFERENCE
    assert Tasks.EMBED.queue_for(durable=True) is Queue.QUERY


def test_names_of_kinds_and_tasks_are_unique(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_kinds", dict(kinds._kinds))
    with pytest.raises(ValueError, match="'chat'"):
        register(CHAT)
    with pytest.raises(ValueError, match=r"query\.embed"):
        register(JobKind("other", CHAT.request, Task("query.embed", Queue.BATCH)))


def test_an_unknown_kind_is_an_error_and_an_unknown_task_becomes_the_first_one() -> None:
    with pytest.raises(InternalError, match="'fax'"):
        kind_named("fax")
    assert CHAT.task_named("inference.answer") is Tasks.GENERATE


def test_a_kind_has_no_renderer_for_the_endpoint_of_another() -> None:
    with pytest.raises(InternalError, match="/v1/embeddings"):
        CHAT.renderer("/v1/embeddings")
