"""The settings. Only this package reads the environment: every process builds the same frozen `Settings` from it and
from `.env`. Each group of settings has a module."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.cgroups import usable_cores
from core.errors import ConfigurationError
from core.settings.documents import DocumentSettings
from core.settings.generation import GenerationSettings
from core.settings.http import HttpSettings
from core.settings.operation import OperationSettings
from core.settings.storage import StorageSettings
from core.settings.values import KEY_HASH_PREFIX
from core.settings.watching import WatchSettings
from core.watch_roots import WatchRoot, watch_root_of
from core.watch_urls import WatchUrl, watch_url_of

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
#: `sun_path` holds 108 bytes with its terminator.
MAX_SOCKET_PATH_BYTES = 107
#: In the order in which users read them.
GROUPS: tuple[type[BaseSettings], ...] = (
    GenerationSettings,
    DocumentSettings,
    WatchSettings,
    HttpSettings,
    StorageSettings,
    OperationSettings,
)


class Settings(OperationSettings, StorageSettings, HttpSettings, WatchSettings, DocumentSettings, GenerationSettings):
    """All settings, by the names with which users set them (in upper case in the environment and in `.env`)."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if (self.model_repo_id is None) != (self.model_filename is None):
            raise ValueError("MODEL_REPO_ID and MODEL_FILENAME must be set together or not at all")
        if self.qdrant_url and self.qdrant_host:
            raise ValueError("QDRANT_URL and QDRANT_HOST both name the Qdrant server: set only one of them")
        if self.chunk_tokens is not None and self.chunk_overlap_tokens * 2 > self.chunk_tokens:
            raise ValueError("CHUNK_OVERLAP_TOKENS may be at most half of CHUNK_TOKENS")
        if len({root.path for root in self.watch_roots}) < len(self.watch_roots):
            raise ValueError("WATCH_DIRS names a folder twice, but a folder can feed only one collection")
        if len({site.url for site in self.watch_sites}) < len(self.watch_sites):
            raise ValueError("WATCH_URLS names a URL twice, but a URL can feed only one collection")
        return self

    @property
    def plain_api_keys(self) -> list[str]:
        """The keys that are given in plain text, not as a hash."""
        keys = [key.get_secret_value() for key in self.api_keys]
        return [key for key in keys if not key.startswith(KEY_HASH_PREFIX)]

    @property
    def watch_roots(self) -> tuple[WatchRoot, ...]:
        """The watched folders, absolute, in the order in which they are named."""
        return tuple(map(watch_root_of, self.watch_dirs))

    @property
    def watch_sites(self) -> tuple[WatchUrl, ...]:
        """The watched URLs, in the order in which they are named."""
        return tuple(map(watch_url_of, self.watch_urls))

    @property
    def state_dir(self) -> Path:
        """`DATA_DIR`, absolute."""
        return Path(os.path.abspath(self.data_dir))

    @property
    def runtime_dir(self) -> Path:
        """A private directory for sockets and pid files, with a short path because socket paths are limited.

        Its name depends on `DATA_DIR`.
        """
        key = hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:12]
        base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        path = base / f"llm-api-{os.getuid()}-{key}"
        if len(os.fsencode(path)) + len("/supervisor.sock") > MAX_SOCKET_PATH_BYTES:
            path = Path("/tmp") / path.name  # noqa: S108 - private (0700), and the only short directory there is
        return path

    @property
    def redis_socket(self) -> Path | None:
        """Socket of the private Redis server, or None if `REDIS_URL` names another server."""
        return None if self.redis_url else self.runtime_dir / "redis.sock"

    @property
    def redis_client_url(self) -> str:
        """The Redis URL in redis-py's syntax."""
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def broker_url(self) -> str:
        """The Redis URL in kombu's syntax."""
        url = self.redis_client_url
        return "redis+socket://" + url.removeprefix("unix://") if url.startswith("unix://") else url

    @property
    def catalog_url(self) -> str:
        """SQLAlchemy URL of the catalog."""
        return self.database_url or f"sqlite:///{self.state_dir / 'catalog.sqlite3'}"

    @property
    def blobs_path(self) -> Path:
        """Folder of the blobs: originals and chunks."""
        return Path(os.path.abspath(self.blob_dir)) if self.blob_dir else self.state_dir / "blobs"

    @property
    def models_path(self) -> Path:
        """Folder of the models, absolute."""
        return Path(os.path.abspath(self.models_dir.expanduser())) if self.models_dir else self.state_dir / "models"

    @property
    def qdrant_server_url(self) -> str | None:
        """URL of the Qdrant server, or None for the embedded engine."""
        return self.qdrant_url or (f"http://{self.qdrant_host}:{self.qdrant_port}" if self.qdrant_host else None)

    @property
    def cores(self) -> int:
        """Number of processors that this process may use."""
        return usable_cores()

    @property
    def upload_body_bytes(self) -> int:
        """The most bytes that one upload may have in all."""
        return self.max_upload_body_bytes or 10 * self.max_upload_bytes

    @property
    def slots(self) -> int:
        """Number of sequences that are decoded at once."""
        return self.inference_slots or (8 if self.cores <= 4 else 16)

    @property
    def parsers(self) -> int:
        """Number of parsing processes."""
        return self.ingest_concurrency or min(self.cores, 4)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: a setting is wrong; the message names each such variable, its value and what is allowed.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_describe(problem) for problem in error.errors())) from None


def _describe(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    name = str(problem["loc"][0]).upper()
    field = Settings.model_fields.get(name.lower())
    # A URL may contain a password, and a wrong one cannot be divided into its parts.
    secret = field is None or "SecretStr" in str(field.annotation) or name.endswith("_URL")
    return f"{name}={'***' if secret else problem['input']!r}: {message}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, which are read only once."""
    return load_settings()
