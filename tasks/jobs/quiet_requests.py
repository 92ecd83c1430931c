"""Celery requests of tasks that nobody asked for, such as those of the clock: no news unless they did something.

Flower lists what events tell it. With those of the clock, people's work would be lost among them.
"""

from __future__ import annotations

from typing import Any

from celery.worker import request

#: What a task returns that found nothing to do, as events show it.
NOTHING = "None"

# Typed as Any: the stubs lack what is used here.
_CeleryRequest: Any = request.Request


class QuietRequest(_CeleryRequest):  # type: ignore[misc]
    """Sends events only once its task has failed or returned something. For tasks with `send_events=False`.

    Then it sends all of them, each with the time at which it happened.
    """

    def send_event(self, type: str, **fields: Any) -> None:
        """Send an event, after those that were held back, unless there is nothing to tell."""
        is_news = type != "task-started" and (type != "task-succeeded" or fields.get("result") != NOTHING)
        if is_news and self._eventer and self._eventer.enabled:
            began = {"timestamp": self.time_start} if self.time_start else {}
            about = {"name": self.name, "args": self.argsrepr, "kwargs": self.kwargsrepr}
            self._eventer.send("task-received", uuid=self.id, **about, **began)
            if began:
                self._eventer.send("task-started", uuid=self.id, **began)
            self._eventer.send(type, uuid=self.id, **fields)
