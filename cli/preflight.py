"""Checks before anything is started, so that the user gets the name of a setting and not a traceback."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path

import psutil
import redis

from core.catalog import Catalog
from core.errors import ConfigurationError
from core.public_address import require_keys
from core.redaction import redacted
from core.settings import Settings
from tasks.jobs.compatibility import require_compatible
from tasks.jobs.producer import Producer

GGUF_MAGIC = b"GGUF"


def check(settings: Settings) -> None:
    """Check the settings before the first process starts.

    Raises:
        ConfigurationError: a setting cannot work; the message names it.
    """
    if settings.port == settings.flower_port and settings.host == settings.flower_host:
        raise ConfigurationError(f"PORT and FLOWER_PORT are both {settings.port}: set one of them to another port.")
    if settings.metrics_port in (settings.port, settings.flower_port):
        port = settings.metrics_port
        raise ConfigurationError(f"METRICS_PORT={port} is that of PORT or FLOWER_PORT: set it to another port.")
    require_free_port("PORT", "HOST", settings.host, settings.port)
    require_free_port("FLOWER_PORT", "FLOWER_HOST", settings.flower_host, settings.flower_port)
    if settings.metrics_port is not None:
        require_free_port("METRICS_PORT", "METRICS_HOST", settings.metrics_host, settings.metrics_port)
    if settings.model_path is not None:
        require_model_file(settings.model_path)
    if settings.functions_dir is not None and not settings.functions_dir.is_dir():
        raise ConfigurationError(
            f"FUNCTIONS_DIR={settings.functions_dir} is not a folder: create it, or name another one."
        )
    for root in settings.watch_roots:
        if Path(root.path).exists() and not Path(root.path).is_dir():
            raise ConfigurationError(f"WATCH_DIRS names {root.path}, which is a file: name the folder that it is in.")
    if settings.redis_url is not None:
        _require_redis(settings)


def require_free_port(port_setting: str, host_setting: str, host: str, port: int) -> None:
    """Raise `ConfigurationError` unless a server can listen on this address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # On macOS, binding alone succeeds even if another process listens.
            probe.listen(1)
        except OSError as error:
            raise ConfigurationError(_why_not(error, port_setting, host_setting, host, port)) from error


def require_model_file(path: Path) -> None:
    """Raise `ConfigurationError` unless this is a GGUF file: the inference worker would notice only later."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise ConfigurationError(f"MODEL_PATH={path} cannot be read: {error.strerror or error}") from error
    if magic != GGUF_MAGIC:
        raise ConfigurationError(
            f"MODEL_PATH={path} is not a GGUF file, although its name ends so. "
            "Download it again, or convert the model with llama.cpp's convert_hf_to_gguf.py."
        )


def prepare_directories(settings: Settings) -> None:
    """Create `DATA_DIR` and the folder of the blobs. A new `DATA_DIR` is accessible to this user only.

    Raises:
        ConfigurationError: a folder cannot be created or written.
    """
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.blobs_path.mkdir(parents=True, exist_ok=True)
        probe = settings.state_dir / ".writable"
        probe.write_bytes(b"\n")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigurationError(f"DATA_DIR={settings.data_dir} cannot be written: {reason}") from error


def migrate_catalog(settings: Settings) -> None:
    """Create or upgrade the catalog's tables, unless processes of another release are using them.

    Raises:
        ConfigurationError: processes of an incompatible release are running, or a newer one has upgraded the catalog.
        StorageFull: there is no room for a copy of the catalog.
        Unavailable: the database does not answer.
    """
    if settings.redis_url is not None:
        producer = Producer(settings)
        try:
            require_compatible(producer)
        finally:
            producer.close()
    catalog = Catalog.open(settings.catalog_url)
    try:
        catalog.migrate()
    finally:
        catalog.close()


def check_access(settings: Settings) -> None:
    """Check that other machines are not served without keys.

    Raises:
        ConfigurationError: they would be.
        Unavailable: the database does not answer.
    """
    catalog = Catalog.open(settings.catalog_url)
    try:
        require_keys(settings, catalog.has_keys)
    finally:
        catalog.close()


def _require_redis(settings: Settings) -> None:
    try:
        with redis.Redis.from_url(settings.redis_client_url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
    # A URL with unknown options raises ValueError or TypeError.
    except (redis.RedisError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"The Redis server that REDIS_URL names does not answer ({redacted(error)}). "
            "Start it, correct REDIS_URL, or remove it to use a private server."
        ) from error


def _why_not(error: OSError, port_setting: str, host_setting: str, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken{_by_whom(port)}. "
            f"Set {port_setting} to a free port (for example {port_setting}={port % 65535 + 1})."
        )
    if error.errno == errno.EACCES:
        return f"This user may not use port {port}. Set {port_setting} to one above 1023."
    return f"{host_setting}={host} is not an address of this machine ({error.strerror or error})."


def _by_whom(port: int) -> str:
    with suppress(psutil.Error, RuntimeError):
        for connection in psutil.net_connections(kind="tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return " by another program"
