"""Storage and servers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from core.settings.values import (
    HttpUrl,
    RedisUrl,
)


class StorageSettings(BaseSettings):
    """Storage and servers."""

    data_dir: Path = Field(Path("./data"), description="Folder of all data that the program keeps.")
    min_free_bytes: int = Field(200 * 2**20, ge=0, description="Free bytes of a disk below which new work gets a 507.")
    redis_url: RedisUrl | None = Field(
        None, repr=False, description="redis://, rediss:// or unix:// (default: a private one)."
    )
    redis_max_memory_bytes: int = Field(
        512 * 2**20, ge=64 * 2**20, description="Memory of the private Redis; at 90 % new work gets a 503."
    )
    database_url: str | None = Field(None, repr=False, description="SQLAlchemy URL (default: SQLite under DATA_DIR).")
    blob_dir: Path | None = Field(None, description="Folder of uploaded originals (default: DATA_DIR/blobs).")
    qdrant_url: HttpUrl | None = Field(None, repr=False, description="A Qdrant server (default: the embedded engine).")
    qdrant_host: str | None = Field(None, description="Host of a Qdrant server, with QDRANT_PORT.")
    qdrant_port: int = Field(6333, ge=1, le=65535, description="Port of QDRANT_HOST.")
    qdrant_api_key: SecretStr | None = Field(None, description="Key of the Qdrant server.")
    qdrant_use_memory: bool = Field(False, description="Keep the embedded store in memory: empty at every start.")
