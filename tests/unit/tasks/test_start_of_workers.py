"""What the start of a worker leaves in its process."""

from __future__ import annotations

import gc
import threading
from types import SimpleNamespace

import celery.beat
import pytest
from celery.signals import worker_init

import tasks.app
from tasks.jobs.queues import Role


class Worker:
    """The sender of a worker's signals."""

    app, hostname = tasks.app.celery_app, "maintenance@here"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a worker without services: its signal handlers run."""
    monkeypatch.setattr(celery.beat, "EmbeddedService", celery.beat.EmbeddedService)
    monkeypatch.setattr(
        "tasks.services.start_services", lambda roles, name, *, serves_any: SimpleNamespace(roles=roles)
    )
    monkeypatch.setattr(tasks.app, "roles_of", lambda app: {Role.MAINTENANCE})
    worker_init.send(sender=Worker())


def test_beat_is_a_thread_and_no_process(started: None) -> None:
    assert isinstance(celery.beat.EmbeddedService(tasks.app.celery_app), threading.Thread)


def test_what_is_loaded_is_not_collected_again_so_that_children_share_it(started: None) -> None:
    try:
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
