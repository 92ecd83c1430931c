"""Operation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings


class OperationSettings(BaseSettings):
    """Operation."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level that is logged.")
    start_timeout_seconds: float = Field(180, gt=0, description="How long `llm-api up` waits for each process.")
    heartbeat_file: Path | None = Field(None, description="A file that a live process touches, for health checks.")
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port at which the API serves `/metrics` without a key (default: none)."
    )
    metrics_host: str = Field("127.0.0.1", description="Address of METRICS_PORT.")
    flower_host: str = Field("127.0.0.1", description="Address Flower listens on.")
    flower_port: int = Field(5555, ge=1, le=65535, description="Port of Flower.")
    flower_user: str = Field("admin", min_length=1, description="Login name of Flower.")
    flower_password: SecretStr | None = Field(
        None, description="Password of Flower (default: generated, kept in DATA_DIR)."
    )
