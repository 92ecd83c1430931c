"""How a worker tells Flower of its tasks: a few times a second, all together."""

from __future__ import annotations

import time
from typing import Any

from celery.worker import consumer

#: An event waits so long for others. Each carries its own time, so what Flower shows is none the less exact.
EVENTS_SECONDS = 0.2

# Typed as Any: the stubs lack what is used here.
_CeleryConsumer: Any = consumer.Consumer


class Consumer(_CeleryConsumer):  # type: ignore[misc]
    """Celery's own publishes the events of each task at once, in the very thread that takes the next message."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._flush_at = 0.0
        super().__init__(*args, **options)

    def on_send_event_buffered(self) -> None:
        """An event lies in the buffer. Called by any thread."""
        now = time.monotonic()
        if self.hub and now >= self._flush_at:
            self._flush_at = now + EVENTS_SECONDS
            self.hub.call_soon(self.hub.call_later, EVENTS_SECONDS, self._flush_events)

    def shutdown(self) -> None:
        """The last events must not be lost."""
        self._flush_events()
        super().shutdown()
