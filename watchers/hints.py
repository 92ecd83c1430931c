"""Hints to the workers that there is work in the catalog."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from core.catalog import Catalog
from core.errors import Unavailable
from tasks.jobs.queues import Role

logger = logging.getLogger(__name__)


class Messenger(Protocol):
    """The part of `tasks.jobs.producer.Producer` that the watcher uses. Methods may raise `core.errors.Unavailable`."""

    def ingest(self, document_id: str) -> bool:
        """Send a hint that a document waits to be parsed. Return False if enough hints are queued already."""

    def wake_indexer(self) -> None:
        """Send a hint that the indexer has work."""

    def announce(self, role: Role, name: str, info: dict[str, Any]) -> None:
        """Announce that this process is alive."""

    def withdraw(self, role: Role, name: str) -> None:
        """Withdraw the announcement, because this process ends."""


class WorkHints:
    """Sends hints. Reconciliation sends those that are not sent here."""

    def __init__(self, catalog: Catalog, messenger: Messenger) -> None:
        self._catalog = catalog
        self._messenger = messenger

    def dispatch(self, document_ids: Sequence[str]) -> None:
        """Tell the ingest workers that these documents wait to be parsed."""
        sent = []
        try:
            for document_id in document_ids:
                if self._messenger.ingest(document_id) is False:
                    break
                sent.append(document_id)
        except Unavailable as error:
            logger.warning("The queue does not answer; the documents wait in the catalog: %s", error.message)
        if sent:
            self._catalog.mark_dispatched(sent)

    def wake_indexer(self) -> None:
        """Tell the index worker that there is something to move or to delete."""
        try:
            self._messenger.wake_indexer()
        except Unavailable as error:
            logger.warning("The queue does not answer; the indexer will find its work by itself: %s", error.message)
