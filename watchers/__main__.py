"""The watcher's process: `python -m watchers`."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import warnings
from types import FrameType

from core.catalog import Catalog
from core.errors import ConfigurationError, LlmApiError
from core.settings import load_settings
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from watchers.mirror import Messenger
from watchers.service import Watcher

logger = logging.getLogger("watchers")

ANNOUNCE_SECONDS = 2.0


def main() -> int:
    """Run until SIGTERM or SIGINT, and return the exit status."""
    try:
        settings = load_settings()
    except ConfigurationError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # watchdog warns if it adds a folder twice (new, or renamed to a known name). It then overwrites its entry: right.
    warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
    catalog = Catalog.open(settings.catalog_url)
    producer = Producer(settings)
    watcher = Watcher(settings, catalog, producer)
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        watcher.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if not _migrate(catalog, stopping):
        return 0
    announcer = threading.Thread(target=_announce, args=(producer, watcher, stopping), name="announcer", daemon=True)
    announcer.start()
    watcher.run()
    stopping.set()
    announcer.join(timeout=2)
    catalog.close()
    logger.info("stopped")
    return 0


def _migrate(catalog: Catalog, stopping: threading.Event) -> bool:
    """Migrate the catalog as soon as it answers. Return False if the watcher is stopped before that."""
    while not stopping.is_set():
        try:
            catalog.migrate()
        except LlmApiError as error:
            logger.warning("%s Retrying.", error.message)
            stopping.wait(1)
        else:
            return True
    return False


def _announce(messenger: Messenger, watcher: Watcher, stopping: threading.Event) -> None:
    """Announce every 2 s that the watcher is alive, and withdraw the announcement at the end."""
    name = f"watcher@{socket.gethostname()}:{os.getpid()}"
    is_reachable = True
    while not stopping.is_set():
        try:
            messenger.announce(Role.WATCHER, name, watcher.info())
            is_reachable = True
        except LlmApiError as error:
            if is_reachable:
                logger.warning("The watcher cannot announce that it is alive: %s", error.message)
            is_reachable = False
        stopping.wait(ANNOUNCE_SECONDS)
    try:
        messenger.withdraw(Role.WATCHER, name)
    except LlmApiError:
        logger.debug("the queue does not answer; the announcement expires by itself")


if __name__ == "__main__":
    sys.exit(main())
