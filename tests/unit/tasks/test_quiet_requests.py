"""What Flower learns of tasks that nobody asked for: nothing, unless they fail or do something."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery import Task
from celery.worker.request import create_request_cls
from kombu.utils.imports import symbol_by_name

import tasks.task_functions
from tasks.app import celery_app
from tasks.jobs.queues import Tasks

QUIET = [Tasks.EXPIRE.name, Tasks.WAKE_INDEXER.name]


class Events:
    """The events that a worker sends."""

    enabled = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def send(self, type: str, **fields: Any) -> None:
        self.sent.append((type, fields))

    @property
    def types(self) -> list[str]:
        return [type for type, _ in self.sent]


def request_of(name: str, events: Events) -> Any:
    """Return the request of a task as a worker makes it."""
    task: Task[..., Any] = celery_app.tasks[name]
    pool = SimpleNamespace(apply_async=None, task_join_will_block=False)
    made = create_request_cls(symbol_by_name(task.Request), task, pool, "maintenance@here", events)
    headers, properties, body, _ = celery_app.amqp.create_task_message("id-1", name, [], {})
    message = SimpleNamespace(
        body=body, headers=headers, properties=properties, payload=body, delivery_info={}, content_type="", errors=None
    )
    return made(
        message,
        hostname="maintenance@here",
        eventer=events,
        app=celery_app,
        task=task,
        body=body,
        headers=headers,
        decoded=True,
        on_ack=lambda *_: None,
    )


@pytest.mark.parametrize("name", QUIET)
def test_a_task_of_the_clock_that_found_nothing_to_do_sends_no_event(name: str) -> None:
    request = request_of(name, events := Events())
    request.on_accepted(1, time.monotonic())
    request.on_success((0, "None", 0.1))
    assert events.sent == []
    assert not celery_app.tasks[name].send_events, "else the worker itself sends that it has received the task"


def test_one_that_did_something_sends_all_of_its_events_with_its_result() -> None:
    request = request_of(Tasks.EXPIRE.name, events := Events())
    request.on_accepted(1, time.monotonic())
    request.on_success((0, "{'jobs': 3}", 0.1))
    assert events.types == ["task-received", "task-started", "task-succeeded"]
    assert events.sent[0][1]["name"] == Tasks.EXPIRE.name
    assert events.sent[2][1]["result"] == "{'jobs': 3}"


def test_one_that_fails_sends_its_error() -> None:
    request = request_of(Tasks.WAKE_INDEXER.name, events := Events())
    request.on_accepted(1, time.monotonic())
    try:
        raise RuntimeError("the indexer is gone")
    except RuntimeError:
        request.on_failure(ExceptionInfo())
    assert events.types == ["task-received", "task-started", "task-failed"]
    assert "the indexer is gone" in events.sent[2][1]["traceback"]


def test_peoples_work_sends_its_events() -> None:
    assert tasks.task_functions.generate.send_events
    request = request_of(Tasks.GENERATE.name, events := Events())
    request.on_accepted(1, time.monotonic())
    request.on_success((0, "None", 0.1))
    assert events.types == ["task-started", "task-succeeded"]
