"""The processes of the stack: how to start each, and how to check that it is ready."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cli import redis_server
from cli.processes import MARKER
from cli.readiness import ReadyCheck, api_url, flower_url, http_ready, redis_ready, worker_ready
from cli.runtime import RuntimeDir
from cli.supervisor import ProcessSpec
from core.models.library import LibraryModel
from core.settings import Settings
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue, Role

#: `-P`, so that a file in the current directory does not shadow a package.
PYTHON = (sys.executable, "-P", "-m")
#: Celery's own command imports more, and the application from the current directory first.
CELERY = (*PYTHON, "tasks")
#: The folder with the packages and celeryconfig.py: the checkout, or site-packages.
CODE_ROOT = Path(__file__).resolve().parent.parent
#: A worker that ends within this time has failed to start: loading a model takes this long on a slow disk.
WORKER_SETTLE_SECONDS = 10
#: Threads of the index worker. Each waits with one request for the single embedding thread, so this is the number of
#: requests that can share a micro-batch. Wake-ups only notify the single bulk loop.
INDEX_THREADS = 40
API_DRAIN_SECONDS = 10
#: Workers send events to Flower but not to each other: they share no clocks, leaders or revoked tasks, and each would
#: otherwise read every heartbeat of all others. These heartbeats are for Flower alone: every 2 s, they would be most of
#: what an idle worker does.
QUIET_WORKER = ("--without-gossip", "--without-mingle", "--heartbeat-interval=10")
#: How often a thread of GNU OpenMP checks for its next work before it sleeps (0.2 ms instead of 15). A thread that
#: spins for long takes the core from the thread that it waits for: beside other work on two cores, steps took seven
#: times as long.
SHORT_SPINS = {"GOMP_SPINCOUNT": "3000"}


@dataclass(frozen=True)
class Program:
    """A process of the stack. The programs of a wave start when all programs of earlier waves are ready."""

    spec: ProcessSpec
    ready: ReadyCheck
    wave: int = 1

    @property
    def name(self) -> str:
        return self.spec.name


def stack_programs(
    settings: Settings, runtime: RuntimeDir, producer: Producer, default: LibraryModel | None = None
) -> list[Program]:
    """Return all processes, beginning with a private Redis unless `REDIS_URL` is set. Write their configuration files.

    `default` is the model that answers in place of the one that the settings name.

    Raises:
        ConfigurationError: there is no Redis server on this machine.
    """
    programs = [_flower(settings, runtime), _api(settings), _watcher(producer)]
    programs[:0] = _workers(settings, runtime, producer, default)
    if settings.redis_url is None:
        programs.insert(0, redis_program(settings, runtime))
    return programs


def model_program(settings: Settings, runtime: RuntimeDir, model: LibraryModel) -> Program:
    """Return the worker of a language model besides the default one. It is a process of its own."""
    name = f"{Role.INFERENCE.value}-{model.slug}"
    queues = [queue.of_model(model.slug) for queue in (Queue.INFERENCE, Queue.BATCH)]
    spec = _worker_spec(settings, runtime, name, queues, _inference_pool(settings), settings.cores)
    return Program(
        replace(spec, start_retries=1, environment={**spec.environment, **_model_environment(model)}), _unasked
    )


def _unasked(started_at: float) -> bool:
    """Stand in for the readiness check of a process that no start waits for."""
    del started_at
    return True


def _model_environment(model: LibraryModel) -> dict[str, str]:
    return {"MODEL_PATH": str(model.path), "MODEL_ALIAS": model.name}


def child_environment(runtime: RuntimeDir) -> dict[str, str]:
    """Return the environment of supervised processes: that of this one, with the stack's marker and no telemetry."""
    return {
        "OMP_NUM_THREADS": "1",
        **guard_environment(),
        MARKER: str(runtime.path),
        "PYTHONUNBUFFERED": "1",
        # Celery logs this warning at each start of each worker. It matters only if pickle is accepted, which it is not.
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore:You're running the worker with superuser"),
        "TOKENIZERS_PARALLELISM": "false",
        "DO_NOT_TRACK": "1",
        "SCARF_NO_ANALYTICS": "1",
        "UNSTRUCTURED_DISABLE_NOTICE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def guard_environment() -> dict[str, str]:
    """Return the environment of the guard: without the marker, so that it does not sweep itself."""
    paths = [str(CODE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    inherited = {name: value for name, value in os.environ.items() if name != MARKER}
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths)}


def flower_password(settings: Settings) -> str:
    """Return Flower's password: `FLOWER_PASSWORD`, else one that is generated once and kept in `DATA_DIR`."""
    if settings.flower_password is not None:
        return settings.flower_password.get_secret_value()
    path = settings.state_dir / "flower-password"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(12))
    return path.read_text().strip()


def redis_program(settings: Settings, runtime: RuntimeDir) -> Program:
    """Return the private Redis server, which listens on a socket in the runtime directory. Write its configuration."""
    binary = redis_server.find_redis_server()
    redis_server.write_config(
        runtime.redis_config,
        socket=runtime.path / "redis.sock",
        data_dir=settings.state_dir / "redis",
        max_memory_bytes=settings.redis_max_memory_bytes,
    )
    spec = ProcessSpec("redis", [str(binary), str(runtime.redis_config)])
    return Program(spec, redis_ready(settings), wave=0)


def _inference_pool(settings: Settings) -> Sequence[str]:
    return ["-P", "threads", "-c", str(settings.slots + settings.inference_waiting_limit)]


def _workers(
    settings: Settings, runtime: RuntimeDir, producer: Producer, default: LibraryModel | None
) -> list[Program]:
    # Reconciliation needs the other workers, but it does no harm to start it together with them.
    arguments: list[tuple[Role, Sequence[Queue], Sequence[str], int]] = [
        (Role.MAINTENANCE, [Queue.MAINTENANCE], ["-P", "solo", "-B"], 1),
        (Role.INGEST, [Queue.INGEST], ["-P", "prefork", "-c", str(settings.parsers)], 1),
        (Role.INDEX, [Queue.QUERY, Queue.INDEX], ["-P", "threads", "-c", str(INDEX_THREADS)], settings.cores),
        (Role.INFERENCE, [Queue.INFERENCE, Queue.BATCH], _inference_pool(settings), settings.cores),
    ]
    programs = [
        Program(_worker_spec(settings, runtime, role.value, queues, pool, threads), worker_ready(producer, role))
        for role, queues, pool, threads in arguments
    ]
    if default is not None:
        spec = programs[-1].spec
        chosen = replace(spec, environment={**spec.environment, **_model_environment(default)})
        programs[-1] = replace(programs[-1], spec=chosen)
    return programs


def _worker_spec(
    settings: Settings, runtime: RuntimeDir, name: str, queues: Sequence[str], pool: Sequence[str], threads: int
) -> ProcessSpec:
    command = [
        *CELERY, "worker", *QUIET_WORKER,
        "-Q", ",".join(queues), *pool,
        "-n", f"{_node_name(settings, runtime, name)}@%h", "-l", settings.log_level.lower(),
    ]  # fmt: skip
    defaults = {"OMP_NUM_THREADS": str(threads), **SHORT_SPINS}
    environment = {variable: value for variable, value in defaults.items() if variable not in os.environ}
    return ProcessSpec(name, command, WORKER_SETTLE_SECONDS, environment=environment)


def _node_name(settings: Settings, runtime: RuntimeDir, name: str) -> str:
    # Two stacks that share a Redis server, or two machines of the same name, must not share a node's name.
    return name if settings.redis_url is None else f"{name}-{runtime.path.name[-6:]}"


def _watcher(producer: Producer) -> Program:
    return Program(ProcessSpec("watcher", [*PYTHON, "watchers"], 3), worker_ready(producer, Role.WATCHER))


def _api(settings: Settings) -> Program:
    command = [
        *PYTHON, "api.server", "--host", settings.host, "--port", str(settings.port),
        "--log-level", settings.log_level.lower(), "--timeout-graceful-shutdown", str(API_DRAIN_SECONDS),
    ]  # fmt: skip
    return Program(ProcessSpec("api", command, 3), http_ready(f"{api_url(settings)}/health"))


def _flower(settings: Settings, runtime: RuntimeDir) -> Program:
    # In a file that only this user can read, because everyone on the machine can read command lines.
    options: Mapping[str, object] = {
        "address": settings.flower_host,
        "port": settings.flower_port,
        "basic_auth": [f"{settings.flower_user}:{flower_password(settings)}"],
        "read_only": True,
        "persistent": False,
        # The workers send events from their start on, so Flower need not ask them to every few seconds.
        "enable_events": False,
    }
    runtime.flower_config.touch(mode=0o600)
    runtime.flower_config.write_text("".join(f"{name} = {value!r}\n" for name, value in options.items()))
    command = [*CELERY, "flower", f"--conf={runtime.flower_config}"]
    return Program(ProcessSpec("flower", command, 3), http_ready(f"{flower_url(settings)}/", any_answer=True))
