"""Renews the leases of claimed documents while they are processed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from core.catalog import LEASE_SECONDS, Catalog, Claim
from core.errors import Unavailable

log = logging.getLogger(__name__)

RENEW_SECONDS = 10.0
#: How often it is looked whether a claim is lost, by those who want to know at once.
CHECK_SECONDS = 0.5


@contextmanager
def kept_alive(
    catalog: Catalog, claims: list[Claim], on_lost: Callable[[Claim], object] | None = None
) -> Iterator[None]:
    """Renew the leases of `claims` every RENEW_SECONDS. The caller may add claims to the list and remove them.

    `on_lost` is called, in a thread, every CHECK_SECONDS with each claim that is lost: its document was cancelled,
    deleted, changed or taken over.
    """
    stopping = threading.Event()

    def renew() -> None:
        renewed_at = time.monotonic()
        while not stopping.wait(RENEW_SECONDS if on_lost is None else CHECK_SECONDS):
            try:
                if on_lost is not None:
                    for claim in catalog.lost_claims(list(claims)):
                        on_lost(claim)
                if time.monotonic() - renewed_at >= RENEW_SECONDS - CHECK_SECONDS:
                    renewed_at = time.monotonic()
                    _renew_all(catalog, list(claims))
            except (SQLAlchemyError, Unavailable) as error:
                log.warning("the claims could not be looked up: %s", error)

    thread = threading.Thread(target=renew, name="lease-renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(timeout=5)


def _renew_all(catalog: Catalog, claims: list[Claim]) -> None:
    for claim in claims:
        try:
            if not catalog.renew(claim, LEASE_SECONDS):
                log.info("%s was taken over or replaced", claim.document.id)
        except (SQLAlchemyError, Unavailable) as error:
            log.warning("the lease of %s could not be renewed: %s", claim.document.id, error)
