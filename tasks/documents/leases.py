"""Renews the leases of claimed documents while they are processed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from core.catalog import LEASE_SECONDS, Catalog, Claim
from core.errors import Unavailable

log = logging.getLogger(__name__)

RENEW_SECONDS = 10.0


@contextmanager
def kept_alive(catalog: Catalog, claims: list[Claim]) -> Iterator[None]:
    """Renew the leases of `claims` every RENEW_SECONDS. The caller may add claims to the list and remove them."""
    stopping = threading.Event()

    def renew() -> None:
        while not stopping.wait(RENEW_SECONDS):
            for claim in list(claims):
                try:
                    if not catalog.renew(claim, LEASE_SECONDS):
                        log.info("%s was taken over or replaced", claim.document.id)
                except (SQLAlchemyError, Unavailable) as error:
                    log.warning("the lease of %s could not be renewed: %s", claim.document.id, error)

    thread = threading.Thread(target=renew, name="lease-renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(timeout=5)
