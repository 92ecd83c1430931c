"""The Celery application, and the signal handlers that start and stop a worker's services."""

from __future__ import annotations

import gc
import logging
from functools import partial
from typing import Any

import celery.beat
from celery import Celery
from celery.signals import (
    worker_init,
    worker_process_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

import celeryconfig
from core.errors import ConfigurationError
from tasks.jobs.queues import Queue, Role, queue_named

log = logging.getLogger(__name__)

celery_app = Celery(
    "llm-api",
    config_source=celeryconfig,
    include=["tasks.task_functions"],
    set_as_current=True,
)


def roles_of(app: Celery) -> set[Role]:
    """Return the roles of this worker, which follow from the queues that it consumes."""
    return {queue_named(name).role for name in app.amqp.queues.consume_from}


def _consume_queues_of(app: Any, model: str) -> None:
    """Consume the queues of the language model with this slug too.

    Raises:
        ConfigurationError: the worker was started with the queue of another model.
    """
    for name in app.amqp.queues.consume_from:
        queue = queue_named(name)
        if name not in (queue, queue.of_model(model)):
            raise ConfigurationError(f"-Q {name}: this worker's model takes its jobs from {queue.of_model(model)}.")
    for queue in (Queue.INFERENCE, Queue.BATCH):
        app.amqp.queues.select_add(queue.of_model(model))


# A threads-pool worker builds its engine in `worker_init`: `worker_process_init` fires in prefork and solo pools only.
# Celery swallows what a signal handler raises, so a failed start has to end the process itself.
@worker_init.connect
def _start(sender: Any = None, **_: Any) -> None:
    from tasks.services import start_services

    queues = set(sender.app.amqp.queues.consume_from)
    try:
        services = start_services(roles_of(sender.app), sender.hostname, serves_any=Queue.INFERENCE in queues)
        if Role.INFERENCE in services.roles:
            _consume_queues_of(sender.app, services.served_model.slug)
    except Exception as error:  # every failed start is logged and ends the process; the supervisor decides what follows
        log.critical("%s cannot start: %s", sender.hostname, error, exc_info=log.isEnabledFor(logging.DEBUG))
        raise SystemExit(1) from error
    # What is loaded by now lives as long as the process. To examine it again and again takes time, and writes to each
    # object, so that children that are forked later would soon have copies of their own of all of it.
    gc.collect()
    gc.freeze()


@worker_process_init.connect
def _child_started(**_: Any) -> None:
    from tasks.services import reset_after_fork

    reset_after_fork()


@worker_init.connect
def _run_beat_in_a_thread(**_: Any) -> None:
    # The option -B starts a process for it by default, which would need 60 MB.
    celery.beat.EmbeddedService = partial(celery.beat.EmbeddedService, thread=True)


@worker_ready.connect
def _ready(**_: Any) -> None:
    from tasks.services import announce_ready

    announce_ready()


@worker_shutting_down.connect
def _draining(how: str = "Warm", **_: Any) -> None:
    from tasks.services import withdraw

    withdraw(at_once=how.lower() != "warm")


@worker_shutdown.connect
def _stop(**_: Any) -> None:
    from tasks.services import stop_services

    stop_services()
