"""The API's server, wherever it is started: `python -m api.server` takes uvicorn's arguments, and needs none.

It is uvicorn with a main loop that sleeps. uvicorn's own wakes ten times a second, to see whether a signal has come.
That would be most of what an idle API does.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from uvicorn import Server

from core.errors import ConfigurationError
from core.settings import get_settings

#: What this API needs of uvicorn, unless the command line says otherwise.
DEFAULTS = {
    "app": "api.app:create_app",
    "factory": True,
    # Modules are imported from here first, and not from the current directory.
    "app_dir": str(Path(__file__).resolve().parent.parent),
    "http": "api.http_protocol:HttpProtocol",
    # `TRUSTED_PROXIES` says whose headers are believed.
    "proxy_headers": False,
    "access_log": False,
}
#: How often the `date` header of the answers is renewed.
TICK_SECONDS = 1.0


class SleepingServer(Server):
    """A server that a signal wakes."""

    async def main_loop(self) -> None:
        """Serve until a signal has come."""
        self._loop, self._signalled = asyncio.get_running_loop(), asyncio.Event()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._signalled.wait(), TICK_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal, and wake the main loop if it already runs."""
        super().handle_exit(sig, frame)
        if hasattr(self, "_loop"):
            self._loop.call_soon_threadsafe(self._signalled.set)


def defaults() -> dict[str, Any]:
    """Return uvicorn's options: those that this API needs, and the address that the settings name.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    settings = get_settings()
    return {**DEFAULTS, "host": settings.host, "port": settings.port, "log_level": settings.log_level.lower()}


if __name__ == "__main__":
    # `uvicorn.main` is the function of this module that has the same name.
    command_line: Any = import_module("uvicorn.main")
    command_line.Server = SleepingServer
    try:
        options = defaults()
    except ConfigurationError as error:
        sys.exit(error.message)
    command_line.main(default_map=options)
