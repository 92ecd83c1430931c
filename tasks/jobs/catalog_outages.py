"""Waiting for a catalog that does not answer, where an error would lose work that is done."""

from __future__ import annotations

import logging

from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_after_delay, wait_fixed

from core.errors import StorageFull, Unavailable

log = logging.getLogger(__name__)

#: As long as for Redis. Leases and heartbeats are renewed meanwhile.
RETRY_SECONDS = 60.0


def _is_outage(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, StorageFull)


#: Calls a function until the catalog answers: `until_answered(function, *arguments)`. After RETRY_SECONDS, or if its
#: disk is full, it raises the last `Unavailable`.
until_answered = Retrying(
    retry=retry_if_exception(_is_outage),
    stop=stop_after_delay(RETRY_SECONDS),
    wait=wait_fixed(0.2),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)
