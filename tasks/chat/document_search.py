"""The port through which functions search the documents. It submits a search job and waits for it, in a thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from core import events
from core.errors import LlmApiError, Unavailable
from core.ids import new_id
from core.keys import DEFAULT_OWNER
from core.messages import Hit, SearchRequest
from tasks.jobs.keys import channel
from tasks.jobs.kinds import SEARCH
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role

#: After this time without an event, the search job may have lost its worker or its message.
QUIET_SECONDS = 1.0


class SearchFailed(LlmApiError):
    """The search job failed or was cancelled; the message says why."""


@dataclass(frozen=True)
class QueuedDocumentSearch:
    """Searches by jobs in the `query` queue.

    Attributes:
        timeout_seconds: the limit on one search.
        within: the names of the only collections that the request may read; None: all.
        key: the API key of the request that searches, and `owner` its bearer.
    """

    producer: Producer
    timeout_seconds: float
    within: list[str] | None = None
    key: str = ""
    owner: str = DEFAULT_OWNER

    def search(self, query: str, top_k: int, collection: str | None) -> Sequence[Hit]:
        """Return the best `top_k` chunks, best first. If `collection` is None, search all collections.

        Raises:
            SearchFailed: if there is no such collection, no collection may be read, or the search was cancelled.
            Unavailable: if the queue or the index worker does not answer.
        """
        if self.within == []:
            raise SearchFailed("The API key of this request may not read documents.", code="permission_denied")
        named = [] if collection is None else [collection]
        request = SearchRequest(queries=[query], top_k=top_k, collections=named, within=self.within)
        job_id = new_id("job")
        with self.producer.records.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe(channel(job_id))
            self.producer.submit(
                job_id, SEARCH, request, key=self.key, owner=self.owner, deadline_seconds=self.timeout_seconds
            )
            deadline = time.monotonic() + self.timeout_seconds
            while time.monotonic() < deadline:
                message = pubsub.get_message(timeout=QUIET_SECONDS)
                replayed = [event for _, event in self.producer.records.replay(job_id)]
                if replayed and events.is_terminal(replayed[-1]):
                    self.producer.records.forget(job_id)
                    return _hits(replayed)
                if message is None and not self.producer.revive(job_id) and not self.producer.workers(Role.INDEX):
                    self.producer.cancel(job_id)
                    raise Unavailable("No worker that could search the documents is running.", code="no_worker")
        self.producer.cancel(job_id)
        raise Unavailable(f"The search took longer than {self.timeout_seconds:g} seconds.", code="search_timeout")


def _hits(replayed: Sequence[events.AnyEvent]) -> list[Hit]:
    last = replayed[-1]
    if isinstance(last, events.Failed):
        raise SearchFailed(last.error.message, param=last.error.param, code=last.error.code)
    if isinstance(last, events.Cancelled):
        raise SearchFailed(f"The search was cancelled: {last.reason}.", code="cancelled")
    return [hit for event in replayed if isinstance(event, events.Retrieved) for hit in event.hits]
