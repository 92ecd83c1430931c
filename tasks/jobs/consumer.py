"""The Celery consumer of a worker. It sends task events to Flower in batches, a few times a second."""

from __future__ import annotations

import time
from typing import Any

from celery.worker import consumer

#: How long an event waits for others. Each event carries its own time, so Flower still shows exact times.
EVENTS_SECONDS = 0.2

# Typed as Any: the stubs lack what is used here.
_CeleryConsumer: Any = consumer.Consumer


class Consumer(_CeleryConsumer):  # type: ignore[misc]
    """Publishes task events in batches.

    Celery's own consumer publishes each event at once, in the thread that also takes the next message.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._flush_at = 0.0
        super().__init__(*args, **options)

    def on_send_event_buffered(self) -> None:
        """Schedule a flush. Celery calls this, in any thread, after it has put an event into the buffer."""
        now = time.monotonic()
        if self.hub and now >= self._flush_at:
            self._flush_at = now + EVENTS_SECONDS
            self.hub.call_soon(self.hub.call_later, EVENTS_SECONDS, self._flush_events)

    def shutdown(self) -> None:
        """Send the events in the buffer, which would be lost otherwise, and shut down."""
        self._flush_events()
        super().shutdown()
