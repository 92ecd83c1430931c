"""The bound on uploads that are received at the same time, and on how long one of them may stand still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.errors import InvalidRequest, Unavailable

#: Uploads that are received at the same time. Each holds a file open, and writes to the disk.
MAX_UPLOADS = 32
#: How long further ones wait for their turn.
WAIT_SECONDS = 30.0
#: How long a client may send nothing of a body that is not complete, while others wait for its slot.
MAX_PAUSE_SECONDS = 30.0


class UploadSlots:
    """Admits a bounded number of uploads. The others wait in the order in which they came."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(MAX_UPLOADS)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a slot within the `with` block.

        Raises:
            Unavailable: none became free within WAIT_SECONDS.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise Unavailable(
                f"{MAX_UPLOADS} uploads are received at a time, and this one has waited for {WAIT_SECONDS:g} s. Try "
                "again in a moment.",
                code="too_many_uploads",
            ) from None
        try:
            yield
        finally:
            self._slots.release()


async def without_long_pauses(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the body.

    Raises:
        InvalidRequest: the client has sent nothing for MAX_PAUSE_SECONDS.
    """
    while True:
        try:
            async with asyncio.timeout(MAX_PAUSE_SECONDS):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            message = f"The upload has stopped: nothing came for {MAX_PAUSE_SECONDS:g} s."
            raise InvalidRequest(message, code="upload_stopped") from None
        yield chunk
