"""Whether new work is accepted: it needs room on the disks, and the asynchronous jobs of an owner are bounded."""

from __future__ import annotations

from api.callers import Caller
from api.dependencies import Services, in_thread
from core.errors import StorageFull, Unavailable


async def admit(services: Services, caller: Caller, *, is_async: bool = False, new_bytes: int = 0) -> None:
    """Check that new work may begin, before any of it is done.

    Args:
        is_async: The work is to become an asynchronous job.
        new_bytes: The size of what the request stores, if it is known.

    Raises:
        StorageFull: a disk is below MIN_FREE_BYTES, or the caller's asynchronous jobs are as large as they may be.
        Unavailable: as many of the caller's asynchronous jobs as may be have not ended.
    """
    await in_thread(services.disk.require, new_bytes)
    if is_async:
        await in_thread(_check_jobs, services, caller.owner)


def _check_jobs(services: Services, owner: str) -> None:
    settings = services.settings
    unfinished = services.catalog.unfinished_job_count(owner)
    if unfinished >= settings.max_async_jobs:
        raise Unavailable(
            f"{unfinished:,} of your asynchronous jobs have not ended, and {settings.max_async_jobs:,} may be waiting "
            "or running (MAX_ASYNC_JOBS). Try again when some have ended.",
            code="queue_full",
        )
    size = services.catalog.job_bytes(owner)
    if size >= settings.max_async_job_bytes:
        raise StorageFull(
            f"Your asynchronous jobs take {size:,} bytes, of which {settings.max_async_job_bytes:,} are allowed "
            "(MAX_ASYNC_JOB_BYTES). Jobs that have ended are removed after JOB_RETENTION_SECONDS "
            f"({settings.job_retention_seconds:,})."
        )
