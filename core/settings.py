"""The settings. Only this module reads the environment: every process builds the same frozen `Settings` from it and
from `.env`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.cgroups import usable_cores
from core.errors import ConfigurationError
from core.setting_values import (
    KEY_HASH_PREFIX,
    AdminKeys,
    GgufName,
    GgufPath,
    HostNames,
    HttpUrl,
    LayersOrAuto,
    Networks,
    PathPrefix,
    RedisUrl,
    RegularExpression,
    Template,
    Texts,
    TokensOrAuto,
)
from core.watch_roots import WatchRoot, watch_root_of

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
#: `sun_path` holds 108 bytes with its terminator.
MAX_SOCKET_PATH_BYTES = 107


class Settings(BaseSettings):
    """All settings, by the names with which users set them (in upper case in the environment and in `.env`)."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    # The language model
    model_path: GgufPath | None = Field(None, description="A GGUF file on this machine. Wins over MODEL_REPO_ID.")
    model_repo_id: str | None = Field(None, description="A Hugging Face repository to download MODEL_FILENAME from.")
    model_filename: GgufName | None = Field(None, description="The GGUF file in MODEL_REPO_ID.")
    models_dir: Path | None = Field(
        None, description="Folder of GGUF files to serve by name, and for pulled ones (default: DATA_DIR/models)."
    )
    model_alias: str | None = Field(None, description="Name of the model in answers (default: the file's name).")
    chat_template: str | None = Field(
        None, description="A Jinja file, or the name of a family such as `llama2` (default: the model's own)."
    )
    strict_models: bool = Field(False, description="Answer 404 to an unknown model name instead of serving it.")
    context_length: TokensOrAuto = Field(
        "auto",
        description="Tokens of a conversation with its answer (auto: what the model was trained for, at most 16384, as "
        "far as memory allows for two).",
    )
    truncation: Literal["off", "oldest"] = Field(
        "off",
        description="What a conversation gets that is longer than the context: a 400 (off), or an answer without its "
        "oldest turns (oldest), and their number in a header.",
    )
    max_tokens: int | None = Field(
        None, ge=1, description="Tokens of an answer at most, if the request sets no limit (default: what is left)."
    )
    temperature: float = Field(0.2, ge=0, le=2, description="Sampling temperature, if the request sets none.")
    model_keep_alive: float = Field(
        1800,
        ge=-1,
        description="Seconds after its last answer at which a model is unloaded, except the default; -1: never.",
    )
    model_memory_bytes: int = Field(
        0, ge=0, description="Memory that all loaded models may take together (0: four fifths of the machine's)."
    )
    inference_slots: int | None = Field(None, ge=1, le=64, description="Sequences decoded at once (default: by cores).")
    inference_waiting_limit: int = Field(64, ge=1, le=1024, description="Requests that may wait for a worker's slot.")
    inference_threads: int | None = Field(None, ge=1, description="Threads of llama.cpp (default: the cores).")
    n_gpu_layers: LayersOrAuto = Field(
        "auto", description="Layers on the GPU in a GPU build (auto: as many as fit; -1: all)."
    )
    n_batch: int | None = Field(
        None, ge=32, le=8192, description="Tokens of one engine step (default: 512 in a GPU build, else 256)."
    )
    flash_attention: Literal["auto", "on", "off"] = Field(
        "auto",
        description="auto: where the device has it. On CPUs, off is faster in conversations of more than about 1,000 "
        "tokens, and slower in shorter ones.",
    )
    kv_cache_type: Literal["f16", "q8_0", "q4_0"] = Field("f16", description="Type of the KV cache.")
    stream_gap_ms: float = Field(
        250,
        ge=0,
        description="How long a running stream may pause while a piece of another prompt is computed; at least a step.",
    )
    kv_layout: Literal["auto", "streams", "unified"] = Field(
        "auto", description="A stream of the KV cache for each slot, or one for all (auto: streams on CPUs)."
    )
    prompt_cache_bytes: int | None = Field(
        None,
        ge=0,
        description="Memory for finished prompts (default: 4 contexts, at most as much as the KV cache and a tenth of "
        "free memory).",
    )
    functions_dir: Path | None = Field(None, description="A folder of Python files with registered functions.")
    function_timeout_seconds: float = Field(30, gt=0, description="Time limit for a call of a registered function.")

    # Embeddings, documents and retrieval
    embedding_model_name: str | None = Field(None, description="A local path or hub id (default: the starter model).")
    embedding_dimension: int | None = Field(
        None, ge=1, description="Length of the vectors (default: the model's; a Matryoshka model allows a shorter one)."
    )
    embedding_models: Texts = Field(
        (), description="Further models that collections may choose: local paths or hub ids, comma-separated."
    )
    embedding_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the CPU has it."
    )
    embedding_token_ids: Literal["named", "own"] = Field(
        "named",
        description="Whose token ids `/v1/embeddings` takes. named: those of requests whose `model` is one of this "
        "server's; own: all are ids of the model that serves the request.",
    )
    embedding_threads: int | None = Field(None, ge=1, description="Threads for embedding (default: the cores).")
    bulk_nice: int = Field(
        19,
        ge=0,
        le=19,
        description="By how much the priority of parsing and of bulk embedding is lowered, so that answers and "
        "searches go first: 0 is not at all; 19 is below everything else.",
    )
    bulk_share: float = Field(
        0.2,
        ge=0,
        le=0.5,
        description="The share of time that generation leaves to parsing and bulk embedding on the same host, while "
        "they wait for a processor.",
    )
    trust_remote_code: bool = Field(False, description="Let an embedding model run the Python code it comes with.")
    chunk_tokens: int | None = Field(
        None, ge=16, description="Tokens of a chunk at most (default: the embedding model's window, up to 512)."
    )
    chunk_overlap_tokens: int = Field(32, ge=0, description="Tokens that two neighbouring chunks share.")
    rag_top_k: int = Field(3, ge=1, le=100, description="Chunks retrieved for a question.")
    rag_score_threshold: float | None = Field(
        None, ge=-1, le=1, description="Lowest dense cosine similarity of a hit (default: the model's)."
    )
    rag_prompt_template: Template | None = Field(
        None, description="A text with `{documents}` and `{question}`, or a file with it (default: built in)."
    )
    rag_nothing_found: str = Field(
        "I could not find anything about that in the documents.",
        min_length=1,
        description="The answer if no chunk is relevant to the question.",
    )
    rag_rewrite: bool = Field(True, description="Rewrite follow-up questions into ones that can be searched for.")
    rag_task_pattern: RegularExpression | None = Field(
        None,
        description="A last message whose beginning this regular expression finds is answered without the documents of "
        "`MODEL@COLLECTION` (default: prompts for titles, tags and the like; `(?!)` finds none).",
    )
    rerank_model: str | None = Field(None, description="A cross-encoder (path, hub id) for searches and `/v1/rerank`.")
    max_upload_bytes: int = Field(100 * 2**20, ge=1, description="Largest file that is ingested.")
    max_upload_body_bytes: int | None = Field(
        None, ge=1, description="Largest upload in all, of up to 100 files (default: ten times MAX_UPLOAD_BYTES)."
    )
    parse_timeout_seconds: float = Field(
        600, gt=0, description="Wall-clock time limit for parsing one file, which may wait for answers and searches."
    )
    parse_cpu_seconds: float = Field(100, ge=1, description="Processor time limit for parsing one file.")
    parse_memory_bytes: int = Field(2 * 2**30, ge=256 * 2**20, description="Memory limit of one parsing process.")
    ocr_languages: str = Field(
        "eng", pattern=r"^[A-Za-z0-9_/]+(\+[A-Za-z0-9_/]+)*$", description="Tesseract's languages, joined by `+`."
    )
    ocr_max_pages: int = Field(200, ge=1, description="Scanned pages of one file that OCR reads at most.")
    ingest_concurrency: int | None = Field(None, ge=1, description="Parsing processes (default: the cores, at most 4).")

    # Watched folders
    watch_dirs: Texts = Field(
        ("./inbox",),
        description="Folders, comma-separated, each `PATH`, `PATH=COLLECTION` or "
        "`PATH=COLLECTION:MODE`; the mode is `mirror`, `additive` or `consume`.",
    )
    watch_stable_seconds: float = Field(
        1.0, ge=0.1, le=60, description="A file is ingested once it has not changed for this long."
    )
    watch_rescan_seconds: float = Field(
        60, ge=1, description="Time between full scans of the watched folders; longer for very large ones."
    )
    watch_polling: bool = Field(False, description="Poll instead of waiting for events: for network file systems.")

    # HTTP
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

    # Storage and servers
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

    # Operation
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level that is logged.")
    start_timeout_seconds: float = Field(180, gt=0, description="How long `llm-api up` waits for each process.")
    heartbeat_file: Path | None = Field(None, description="A file that a live process touches, for health checks.")
    flower_host: str = Field("127.0.0.1", description="Address Flower listens on.")
    flower_port: int = Field(5555, ge=1, le=65535, description="Port of Flower.")
    flower_user: str = Field("admin", min_length=1, description="Login name of Flower.")
    flower_password: SecretStr | None = Field(
        None, description="Password of Flower (default: generated, kept in DATA_DIR)."
    )

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
