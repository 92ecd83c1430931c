"""The search of a registered function, which is a job of its own."""

from __future__ import annotations

import pytest

from core.errors import Unavailable
from tasks.chat.document_search import QueuedDocumentSearch
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue


def test_a_search_that_no_worker_can_serve_leaves_no_job_that_waits(producer: Producer) -> None:
    with pytest.raises(Unavailable) as caught:
        QueuedDocumentSearch(producer, 20.0).search("warranty", 3, None)
    assert caught.value.code == "no_worker"
    assert producer.records.next_waiting(Queue.QUERY, 10) == []
