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
from tasks.jobs.compatibility import require_compatible
from tasks.jobs.heartbeats import Announcer
from tasks.jobs.metric_store import MetricPublisher, MetricStore
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from watchers.service import Watcher

logger = logging.getLogger("watchers")


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
    producer = Producer(settings)
    catalog = Catalog.open(settings.catalog_url, producer.changes)
    watcher = Watcher(settings, catalog, producer)
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        watcher.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        require_compatible(producer)
        if not _migrate(catalog, stopping):
            return 0
    except ConfigurationError as error:
        logger.critical("%s", error.message)
        return 2
    name = f"watcher@{socket.gethostname()}:{os.getpid()}"
    publisher = MetricPublisher(MetricStore(producer.records.redis), Role.WATCHER, name)
    announcer = Announcer(producer, Role.WATCHER, name, watcher.info, publisher)
    announcer.start()
    watcher.run()
    announcer.withdraw()
    catalog.close()
    logger.info("stopped")
    return 0


def _migrate(catalog: Catalog, stopping: threading.Event) -> bool:
    """Migrate the catalog as soon as it answers. Return False if the watcher is stopped before that.

    Raises:
        ConfigurationError: a newer release has upgraded it.
    """
    while not stopping.is_set():
        try:
            catalog.migrate()
        except ConfigurationError:
            raise
        except LlmApiError as error:
            logger.warning("%s Retrying.", error.message)
            stopping.wait(1)
        else:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
