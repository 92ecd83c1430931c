"""HTTP."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

from core.settings.values import (
    AdminKeys,
    HostNames,
    Networks,
    PathPrefix,
    Texts,
)


class HttpSettings(BaseSettings):
    """HTTP."""

    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port of the API.")
    api_keys: AdminKeys = Field((), description="Admin keys, comma-separated; `sha256:HEX` is the hash of a key.")
    allow_anonymous: bool = Field(False, description="Serve a non-loopback address without keys.")
    cors_origins: Texts = Field((), description="Origins allowed to call from a browser.")
    allowed_hosts: HostNames = Field(
        (),
        description="Names, comma-separated, under which clients may call this server, besides addresses, `localhost` "
        "and HOST; `*.NAME` allows all names below it, `*` every name.",
    )
    root_path: PathPrefix = Field(
        "", description="Path under which a proxy serves the API, such as /llm (default: none)."
    )
    trusted_proxies: Networks = Field(
        ("127.0.0.0/8", "::1"),
        description="Addresses and networks, comma-separated, whose X-Forwarded-Prefix is believed; `*`: all.",
    )
    max_body_bytes: int = Field(20 * 2**20, ge=1024, description="Largest JSON body.")
    max_queued_jobs: int = Field(256, ge=1, description="Interactive jobs that may wait; further ones get a 503.")
    rate_limit_requests_per_minute: int | None = Field(
        None, ge=1, le=100_000, description="Requests for work (POST) that one key may send in a minute."
    )
    max_concurrent_requests_per_key: int | None = Field(
        None, ge=1, le=100_000, description="Requests for work (POST) of one key that may run at once."
    )
    stream_interval_ms: float = Field(
        60, ge=0, le=1000, description="Tokens of this interval are streamed together; 0: each token by itself."
    )
    max_async_jobs: int = Field(10_000, ge=1, description="Unfinished asynchronous jobs of one owner; more get a 503.")
    max_async_job_bytes: int = Field(2 * 2**30, ge=1, description="Bytes of an owner's asynchronous jobs (more: 507).")
    request_timeout_seconds: float = Field(600, gt=0, description="Deadline of an interactive request.")
    index_wait_seconds: float = Field(30, ge=0, description="How long posting texts waits until they are searchable.")
    job_ttl_seconds: int = Field(3600, ge=60, description="How long events of a job can be replayed.")
    job_retention_seconds: int = Field(7 * 86400, ge=60, description="How long finished asynchronous jobs are kept.")
