"""The Celery tasks, the only producer of their messages, and the stream of a job's events.

`celery -A tasks` finds the application by the name `celery`. It is built on first use, so that the API, the watcher and
the command line can import `tasks.jobs.producer` without it.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "celery":
        from tasks.app import celery_app

        return celery_app
    raise AttributeError(name)
